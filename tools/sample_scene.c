/* SPDX-License-Identifier: MIT
 *
 * sample_scene.c: builds the harbour: houses, church, quay, people, trees, boats.
 */
#include "sample_scene.h"

enum { MAX_SOLIDS = 9000, MAX_GROUPS = 256 };
solid solids[MAX_SOLIDS];
group groups[MAX_GROUPS];
int solid_count, group_count;
vec row, quay;

static void begin_group(void) {
    if (group_count == MAX_GROUPS) abort();
    groups[group_count++] = (group){.first = solid_count};
}

static vec lower(vec a, vec b) {
    return v3(fmin(a[0], b[0]), fmin(a[1], b[1]), fmin(a[2], b[2]));
}
static vec upper(vec a, vec b) {
    return v3(fmax(a[0], b[0]), fmax(a[1], b[1]), fmax(a[2], b[2]));
}

static solid *new_solid(stuff made_of, vec paint) {
    if (solid_count == MAX_SOLIDS) abort();
    solid *s = &solids[solid_count++];
    s->made_of = made_of, s->colour = paint, s->seed = solid_count;
    return s;
}

static void cut(solid *s, vec n, vec through) {
    n = unit(n);
    if (s->planes == MAX_PLANES) abort();
    s->n[s->planes] = n, s->d[s->planes++] = dot(n, through);
}

/* The box around a solid, from the corners where three planes meet; joined to the
 * group's. */
static solid *finish(solid *s) {
    s->low = v3(1e9, 1e9, 1e9), s->high = -s->low;
    if (s->planes == 0) {
        vec r = v3(s->radius, s->radius, s->radius);
        s->low = s->centre - r, s->high = s->centre + r;
    }
    for (int i = 0; i < s->planes; i++)
        for (int j = 0; j < i; j++)
            for (int k = 0; k < j; k++) {
                vec a = cross(s->n[j], s->n[k]), b = cross(s->n[k], s->n[i]);
                double det = dot(s->n[i], a);
                if (fabs(det) < 1e-9) continue;
                vec p = a * s->d[i] + b * s->d[j];
                p = (p + cross(s->n[i], s->n[j]) * s->d[k]) * (1 / det);
                int inside = 1;
                for (int m = 0; m < s->planes; m++)
                    if (dot(s->n[m], p) > s->d[m] + 1e-6) inside = 0;
                if (inside) s->low = lower(s->low, p), s->high = upper(s->high, p);
            }
    group *g = &groups[group_count - 1];
    g->low = g->count ? lower(g->low, s->low) : s->low;
    g->high = g->count ? upper(g->high, s->high) : s->high;
    g->count = solid_count - g->first;
    return s;
}

/* A box from corner o: a along x (level, unit), y up, and depth d away from the
 * viewer's side, whose outward normal is (x[2], 0, -x[0]). Six planes, to be cut
 * further.
 */
static solid *box(
    stuff made_of, vec paint, vec o, vec x, double a, double y, double d) {
    solid *s = new_solid(made_of, paint);
    vec front = v3(x[2], 0, -x[0]);
    vec other = o + x * a + up * y + front * -d;
    cut(s, -x, o), cut(s, -up, o), cut(s, front, o);
    cut(s, x, other), cut(s, up, other), cut(s, -front, other);
    s->origin = o, s->along = x, s->width = a, s->height = y;
    return s;
}

static vec at(vec o, vec x, double a, double y, double out) {
    return o + x * a + up * y + v3(x[2], 0, -x[0]) * out;
}

static void ball(stuff made_of, vec paint, vec centre, double radius) {
    solid *s = new_solid(made_of, paint);
    s->centre = centre, s->radius = radius;
    finish(s);
}

/* A roof of two slabs over a box w wide and d deep at o (at the eaves), ridge along the
 * depth (gable to the viewer) or along the width. */
static void roof(vec paint, vec o, vec x, double w, double d, double rise, int gable) {
    vec front = v3(x[2], 0, -x[0]), over = up * 0.22;
    for (int side = -1; side <= 1; side += 2) {
        solid *s = box(
            TILES, paint, at(o, x, -0.3, -0.35, 0.3), x, w + 0.6, rise + 1, d + 0.6);
        vec n = gable ? x * (side * rise) + up * (w / 2)
                      : front * (side * rise) + up * (d / 2);
        vec ridge = gable ? at(o, x, w / 2, rise, 0) : at(o, x, 0, rise, -d / 2);
        cut(s, n, ridge + over), cut(s, -n, ridge);
        cut(s, gable ? x * -side : front * -side, ridge);
        finish(s);
    }
}

/* A house with its lower left front corner at o; kind 0: gable to the water, 1: stepped
 * gable, 2: eaves to the water with dormers. */
static void house(vec o, vec x, double w, double d, double h, double rise, int kind,
    unsigned wall, unsigned tiles) {
    vec top = at(o, x, 0, h, 0), red = mix(colour(tiles), v3(0.16, 0.14, 0.13), 0.25),
        plaster = mix(colour(wall), v3(0.30, 0.28, 0.25), 0.2);
    begin_group();
    solid *s = box(FACADE, plaster, o, x, w, h + (kind == 2 ? 0 : rise), d);
    s->height = h;
    if (kind != 2)
        for (int side = -1; side <= 1; side += 2)
            cut(s, x * (side * rise) + up * (w / 2), at(top, x, w / 2, rise, 0));
    finish(s);
    roof(red, top, x, w, d, rise, kind != 2);
    for (int step = 0; kind == 1 && step < 5; step++) {
        double inset = w * 0.1 * step;
        finish(box(PLAIN, plaster * 0.97,
            at(top, x, inset - 0.05, rise * 0.2 * step, 0.06), x, w - 2 * inset + 0.1,
            rise * 0.2 + 0.35, 0.6));
        finish(box(PLAIN, colour(0xe8e2d2),
            at(top, x, inset - 0.1, rise * 0.2 * (step + 1) + 0.3, 0.12), x,
            w - 2 * inset + 0.2, 0.14, 0.75));
    }
    for (int i = 0; kind == 2 && i < (int)(w / 3.2); i++) { /* dormers */
        double place = (i + 0.5) * w / (int)(w / 3.2) - 0.8;
        vec foot = at(top, x, place, 0.7, -0.9);
        solid *dormer = box(FACADE, colour(0xefe9da), foot, x, 1.6, 1.7, 4);
        dormer->seed = DORMER;
        finish(dormer);
        roof(red, at(foot, x, 0, 1.6, 0), x, 1.6, 3.6, 0.7, 1);
    }
    for (int i = 0; i < 2; i++) { /* chimneys */
        double place = w * (i ? 0.78 : 0.16), back = -d * (i ? 0.35 : 0.55);
        vec foot = at(top, x, place, 0.3, back);
        finish(box(TILES, colour(0x8a4a38), foot, x, 0.8, rise + 1.1, 0.8));
        finish(box(PLAIN, colour(0xc8c0b0), at(foot, x, -0.08, rise + 1.1, 0.08), x,
            0.96, 0.16, 0.96));
    }
    finish(box(
        PLAIN, colour(0xece6d8), at(top, x, -0.05, -0.3, 0.16), x, w + 0.1, 0.3, 0.3));
    finish(box(PLAIN, plaster * 0.5, at(o, x, 0, 0, 0.06), x, w, 0.7, 0.2));
}

/* A rod from a to b, square, r thick. */
static void rod(vec paint, vec a, vec b, double r) {
    solid *s = new_solid(PLAIN, paint);
    vec d = unit(b - a);
    vec side = unit(cross(d, fabs(d[1]) > 0.9 ? v3(0.6, 0, 0.8) : up)),
        other = cross(d, side);
    cut(s, d, b), cut(s, -d, a);
    cut(s, side, a + side * r), cut(s, -side, a - side * r);
    cut(s, other, a + other * r), cut(s, -other, a - other * r);
    finish(s);
}

/* A flat triangle of cloth, a little thick. */
static void cloth(vec paint, vec a, vec b, vec c) {
    solid *s = new_solid(PLAIN, paint);
    vec n = unit(cross(b - a, c - a)), corner[3] = {a, b, c};
    cut(s, n, a + n * 0.03), cut(s, -n, a - n * 0.03);
    for (int i = 0; i < 3; i++)
        cut(s, cross(corner[(i + 1) % 3] - corner[i], n), corner[i]);
    finish(s);
}

/* A boat at the water line o, bow along x; half: half its length. sails: 0 furled, 1
 * set. */
static void boat(vec o, vec x, double half, unsigned paint, int masts, int sails) {
    vec side = v3(x[2], 0, -x[0]), wood = colour(0x9a6a3c), white = colour(0xf2ede0);
    double beam = half * 0.34, deck = half * 0.2;
    begin_group();
    for (int part = 0; part < 2; part++) { /* hull, and the rail on it */
        solid *s = new_solid(part ? PLAIN : HULL, part ? wood : colour(paint));
        double rise = part ? 0.14 : 0;
        s->origin = o, s->height = deck;
        cut(s, x * -0.13 + up, o + up * (deck + rise));
        if (part) cut(s, x * 0.13 - up, o + up * deck);
        cut(s, -up, o - up * 0.5);
        cut(s, -x - up * 0.25, o - x * (half * 0.86));
        for (int i = 0; i < 8; i++)
            for (int port = -1; port <= 1; port += 2) {
                double t = -0.75 + 1.72 * i / 7, grow = beam * (1 + 0.05 * part);
                vec edge = o + x * (half * t) + up * deck;
                edge += side * (port * grow * (1 - t * t * t * t * 0.4 - 0.6 * t * t));
                vec n = side * port + x * (beam / half * (1.2 * t + 1.6 * t * t * t));
                cut(s, n - up * 0.3, edge);
            }
        finish(s);
    }
    if (masts == 0) return;
    vec cabin = o + x * (-half * 0.5) + side * (beam * 0.5) + up * (deck * 0.9);
    solid *s = box(FACADE, white, cabin, x, half * 0.62, half * 0.16, beam);
    s->seed = CABIN;
    finish(s);
    finish(box(PLAIN, wood, at(cabin, x, -0.1, half * 0.16, 0.1), x, half * 0.62 + 0.2,
        0.09, beam + 0.2));
    for (int i = 0; i < masts; i++) {
        double where = i ? -0.45 : masts == 1 ? 0.2 : 0.3;
        double tall = half * (i ? 1.6 : 2.1);
        vec foot = o + x * (half * where), tip = foot + up * tall;
        vec boom = foot + up * (half * 0.45), end = boom - x * (half * 0.85);
        vec bow = o + x * (half * 0.96) + up * (deck + half * 0.13);
        rod(wood, foot, tip, 0.03 + half * 0.011);
        rod(wood, boom, end, 0.09);
        if (sails) {
            vec out = side * (half * 0.18);
            cloth(white, tip - up * 0.3, boom + up * 0.2, end + out);
            cloth(colour(0xe9dfca), tip - up * (half * 0.25),
                foot + up * (half * 0.36) + x * 0.3 + out * 0.8, bow);
        } else {
            rod(colour(0xd9cfb8), boom + up * 0.2, end + up * 0.14, 0.17);
        }
        rod(colour(0x60584c), tip, bow, 0.022);
        rod(colour(0x60584c), tip, o + x * (-half * 0.84) + up * deck, 0.022);
        for (int port = -1; port <= 1; port += 2)
            rod(colour(0x60584c), tip - up * (half * 0.2),
                foot + side * (port * beam * 0.9) + up * deck, 0.02);
    }
}

/* Leaves in eight groups, one an octant of the crown. */
static void tree(vec foot, double tall, int seed) {
    begin_group();
    rod(colour(0x4a3a2e), foot, foot + up * (tall * 0.6), tall * 0.02);
    for (int octant = 0; octant < 8; octant++) {
        dice d = {(uint64_t)(seed * 8 + octant)};
        begin_group();
        for (int i = 0; i < 330; i++) {
            vec p = v3(roll(&d), roll(&d), roll(&d));
            p = v3(octant & 1 ? p[0] : -p[0], octant & 2 ? p[1] : -p[1],
                octant & 4 ? p[2] : -p[2]);
            double lumps = noise(p[0] * 2.3 + seed, p[1] * 2.3, p[2] * 2.3 + 5);
            if (dot(p, p) > pow(0.5 + 0.75 * lumps, 2)) continue;
            vec green = mix(colour(0x2f4a1c), colour(0x6f8436), roll(&d));
            vec place =
                v3(p[0] * tall * 0.32, tall * (0.66 + p[1] * 0.36), p[2] * tall * 0.32);
            ball(LEAF, green, foot + place, tall * (0.009 + 0.014 * roll(&d)));
        }
    }
}

static void person(vec foot, unsigned coat) {
    vec shade = colour(0x2c3444), x = v3(1, 0, 0);
    finish(box(FIGURE, shade, at(foot, x, -0.16, 0, 0.1), x, 0.32, 0.85, 0.2));
    finish(
        box(FIGURE, colour(coat), at(foot, x, -0.24, 0.8, 0.14), x, 0.48, 0.66, 0.28));
    ball(FIGURE, colour(0xd8a888), foot + up * 1.62, 0.15);
}

static void build_street(void) {
    static const unsigned walls[] = {0xe8b54a, 0xb5442f, 0xf0e4c8, 0x4f7f9a, 0xd98a4a,
        0x8fa86a, 0xefd9a0, 0xc4604a, 0x6d8fb0, 0xf3ead8, 0xd9a03a, 0xa84a3c, 0xe7c9a4};
    static const unsigned tiles[] = {0x9c4630, 0x7a3a2c, 0x5a5450, 0xa8553a};
    static const int kinds[] = {2, 1, 0, 2, 0, 1, 2, 0, 1, 2, 0, 2, 1};
    dice d = {12};
    double a = 0;
    for (int i = 0; i < 13; i++) {
        double w = kinds[i] == 2 ? 9 + 2 * roll(&d) : 6.2 + 1.6 * roll(&d);
        double h = 3.2 * (kinds[i] == 2 ? 3 : 3 + (i % 3 == 1)) + 0.8;
        house(at(quay, row, a, 0, 0), row, w, 11, h, kinds[i] == 2 ? 4.6 : w * 0.62,
            kinds[i], walls[i], tiles[i % 4]);
        a += w;
    }
    begin_group(); /* the quay, its kerb, the bollards */
    finish(box(QUAY, colour(0xa59a86), at(quay, row, -60, -3, 8), row, a + 66, 3, 60));
    finish(box(
        PLAIN, colour(0xcfc6b2), at(quay, row, -60, 0, 8.1), row, a + 66, 0.22, 0.6));
    for (int i = 0; i < 16; i++)
        finish(box(PLAIN, colour(0x3a3430), at(quay, row, i * 6.5 + 2, 0, 7.4), row,
            0.35, 0.75, 0.35));
    for (int i = 0; i < 14; i++) { /* awnings, each over a door of a shop */
        static const unsigned stripes[] = {0xb83a30, 0xf2ead8, 0x2f5f57, 0xe2b04a};
        if (i % 3 == 2) continue;
        vec o = at(quay, row, i * 7.1 + 1.3, 2.7, 0);
        solid *s =
            box(PLAIN, colour(stripes[i % 4]), at(o, row, 0, -1, 2), row, 4, 2, 2);
        vec n = v3(row[2] * 0.45, 0, -row[0] * 0.45) + up;
        cut(s, n, o + up * 0.55), cut(s, -n, o + up * 0.42);
        finish(s);
    }
    begin_group();
    for (int i = 0; i < 26; i++) {
        static const unsigned coats[] = {
            0xa03028, 0x30507a, 0xe0d8c8, 0x40603c, 0xc89030, 0x503848};
        person(at(quay, row, 4 + 80 * roll(&d), 0, 1.5 + 5 * roll(&d)), coats[i % 6]);
    }
    for (int i = 0; i < 7; i++) { /* lamps */
        vec foot = at(quay, row, i * 12.0 + 8, 0, 6.2), head = foot + up * 4.2;
        rod(colour(0x2c3430), foot, head, 0.06);
        ball(PLAIN, colour(0xf2e8c8), head, 0.24);
    }
    for (int i = 0; i < 4; i++)
        tree(at(quay, row, 21.5 + i * 19 + 3 * (i & 1), 0, 4.4), 6.5 + i % 2, 3 + i);
}

static void build_church(vec o, vec x) {
    vec wall = colour(0xb8664a), copper = colour(0x6fa593);
    begin_group();
    solid *s = box(FACADE, wall, o, x, 7, 31, 7);
    s->seed = TOWER;
    finish(s);
    finish(box(PLAIN, colour(0xe6dcc6), at(o, x, -0.3, 31, 0.3), x, 7.6, 0.7, 7.6));
    s = new_solid(PLAIN, copper);
    vec tip = at(o, x, 3.5, 52, -3.5), front = v3(x[2], 0, -x[0]);
    cut(s, -up, at(o, x, 0, 31.6, 0));
    for (int side = -1; side <= 1; side += 2) {
        cut(s, x * side + up * 0.165, tip);
        cut(s, front * side + up * 0.165, tip);
        cut(s, front * side + x * 1 + up * 0.2, tip);
        cut(s, front * side + (-x) + up * 0.2, tip);
    }
    finish(s);
    rod(colour(0xd8b050), tip, tip + up * 2.5, 0.12);
    ball(PLAIN, colour(0xe8c050), tip, 0.45);
}

void build_scene(void) {
    row = unit(v3(0.62, 0, 0.78)), quay = v3(-30.5, 1.6, 23);
    build_street();
    build_church(at(quay, row, 52, 0, -26), row);
    static const struct {
        double a, out, half;
        unsigned paint;
        int masts;
    } moored[] = {{17, 10.6, 4.2, 0x2f5f8a, 1}, {28.5, 10.8, 4.8, 0xf0eadc, 1},
        {40, 11, 5.6, 0x274a38, 2}, {52, 10.6, 4.6, 0xa03a2c, 1},
        {64, 10.8, 5, 0xe8e0d0, 1}, {76, 11, 5.6, 0x35506a, 2},
        {88, 10.8, 5, 0xd8d0c0, 1}};
    for (size_t i = 0; i < sizeof moored / sizeof *moored; i++) {
        vec o = at(quay, row, moored[i].a, 0, moored[i].out);
        o[1] = 0;
        boat(o, row * (i % 3 == 1 ? 1 : -1), moored[i].half, moored[i].paint,
            moored[i].masts, 0);
    }
    boat(v3(27, 0, 62), unit(v3(-0.8, 0, 0.45)), 5.6, 0xf4efe4, 1, 1);
    boat(v3(66, 0, 150), unit(v3(0.9, 0, 0.2)), 6, 0x8a3028, 1, 1);
    boat(v3(88, 0, 210), unit(v3(-0.9, 0, 0.3)), 6, 0xf0f0f0, 1, 1);
    boat(
        v3(7.4, 0, 19.5), unit(v3(-0.86, 0, -0.5)), 2.3, 0x3c7a80, 0, 0); /* a dinghy */
}
