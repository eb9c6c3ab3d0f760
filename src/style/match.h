/* SPDX-License-Identifier: MIT
 *
 * match.h: for each place of the painted picture, the place of a painting that looks most
 * like it.
 */
#ifndef IMP_MATCH_H
#define IMP_MATCH_H

#include "base/base.h"
#include "impasto/style.h"

/* More places of a painting than these are thinned out evenly: they bound memory (92 MiB of
 * VGG-19's default layers) and time. */
#define IMP_MATCH_PLACES ((size_t)16384)

/* The places of one painting: columns c, all layers' channels one below the other (the
 * filling of each layer's last block included). */
typedef struct imp_pool_of_places {
    size_t places;
    float *panels; /* b = (c - mean) scale^2 / length, in panels of 16 places */
    float *length; /* |(c - mean) scale| of each place; of the filling 0 */
    float *mean;   /* of the columns */
    size_t region; /* whose places it is for */
    float share;   /* of the target, of the pools of its region */
} imp_pool_of_places;

typedef struct imp_match {
    size_t n_layers, depth;                /* depth: floats of a column */
    size_t channels[IMP_STYLE_MAX_LAYERS]; /* rounded up to 16 */
    float scale[IMP_STYLE_MAX_LAYERS];     /* 1 / a layer's root mean square length */
    imp_pool_of_places pools[IMP_STYLE_MAX_SOURCES];
    size_t n_pools;
} imp_match;

/* channels: of each layer. Bytes that the pools will take, given each painting's places. */
void imp_match_init(imp_match *m, const size_t *channels, size_t n_layers);
size_t imp_match_pool_bytes(const imp_match *m, size_t places);

/* Add a painting: maps[l] is layer l, blocked, of `places` places; the first one added sets
 * the scales. inside: which places to take, or NULL. */
imp_status imp_match_add(imp_ctx *ctx, imp_match *m, const float *const *maps,
    size_t places, const bool *inside, size_t region, double share);

/* Replace every column of maps by the column that is most like it, by the cosine after each
 * side's mean is removed, of the pools of its region (region[p]; a region without a pool keeps
 * its places as they are; NULL: all of region 0); of equals the first. Several pools of a
 * region: the mean of their columns by share. found: for each pool `places` numbers, which of its
 * places that is; written, or with `known` read in place of the search. */
imp_status imp_match_replace(imp_ctx *ctx, const imp_match *m, float *const *maps,
    size_t places, const uint8_t *region, uint32_t *found, bool known);
void imp_match_free(imp_match *m);

#endif
