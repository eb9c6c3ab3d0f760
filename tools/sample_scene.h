/* SPDX-License-Identifier: MIT
 *
 * sample_scene.h: the harbour of sample_photo.c as convex solids. Metres; y up, the
 * water at 0; the viewer at (0, 5, 0) looks along z.
 */
#ifndef SAMPLE_SCENE_H
#define SAMPLE_SCENE_H

#include "sample.h"

enum { MAX_PLANES = 22 };
typedef enum stuff { PLAIN, FACADE, TILES, QUAY, HULL, LEAF, FIGURE } stuff;
enum {
    DORMER = -1,
    CABIN = -2,
    TOWER = -3
}; /* facades of their own, told by the seed */

/* A convex solid: where every plane n . p <= d; or, without planes, a ball. */
typedef struct solid {
    int planes;
    vec n[MAX_PLANES];
    double d[MAX_PLANES];
    vec low, high; /* the box around it */
    vec centre;
    double radius;
    stuff made_of;
    vec colour;
    vec origin, along; /* a facade's lower left corner and its direction */
    double width, height;
    int seed;
} solid;

/* Solids that stand together, and the box around them all. */
typedef struct group {
    int first, count;
    vec low, high;
} group;

extern solid solids[];
extern group groups[];
extern int solid_count, group_count;
extern vec row, quay; /* the direction of the houses; the corner where they begin */

void build_scene(void);

static const vec up = {0, 1, 0};

#endif
