/* SPDX-License-Identifier: MIT
 *
 * sample_painting.c: the sample "painting" of the demonstration, a night over fields: a
 * motif and a field of directions, laid on in curved strokes from coarse to fine, each
 * of bristles that leave ridges, and lit from the upper left.
 *     sample_painting 'painting.jpg[Q=88,strip]'
 */
#include "sample.h"

enum { SCALE = 2, WIDTH = 640 * SCALE, HEIGHT = 512 * SCALE, MAX_STEPS = 128 };

static vec paint[HEIGHT][WIDTH];
static double relief[HEIGHT][WIDTH];
static int painted_by[HEIGHT][WIDTH];

/* --- the motif: x 0 .. 1.25 to the right, y 0 .. 1 down --- */

typedef enum region { SKY, HILLS, SLOPE, FIELD, TREE, HOUSE, LIGHT } region;

static const struct whirl {
    double x, y, size, turn;
} whirls[] = {{0.56, 0.27, 0.150, 1.0}, {0.83, 0.40, 0.085, -0.55},
    {0.33, 0.44, 0.075, -0.5}, {0.14, 0.16, 0.080, 0.4}};
static const struct lamp { /* moon and stars: where, the body, the halo */
    double x, y, body, halo;
} lamps[] = {{1.04, 0.165, 0.052, 0.150}, {0.80, 0.10, 0.012, 0.055},
    {0.40, 0.10, 0.014, 0.060}, {1.14, 0.43, 0.013, 0.055}, {0.66, 0.50, 0.010, 0.042}};
enum { WHIRLS = sizeof whirls / sizeof *whirls, LAMPS = sizeof lamps / sizeof *lamps };

static double far_hills(double x) {
    return 0.665 - 0.055 * sin(x * 4.1 + 0.6) - 0.022 * sin(x * 9.7) +
           0.012 * sin(x * 23);
}
static double near_hills(double x) {
    return 0.735 - 0.030 * sin(x * 3.3 + 2.6) + 0.010 * sin(x * 11);
}
static double field_edge(double x) {
    return 0.80 + 0.025 * sin(x * 2.4 + 0.9);
}
static double tree_width(double y) { /* half of it: a flame from the ground up */
    double t = (y - 0.20) / 0.82;
    return t < 0 ? 0
                 : 0.078 * pow(t, 0.75) * (1 - 0.45 * t * t) + 0.012 * sin(y * 37) * t;
}
static double tree_axis(double y) {
    return 0.155 + 0.014 * sin(y * 11);
}

/* Houses of the village: left, foot, width, wall, roof. */
static const struct cottage {
    double x, y, w, h, roof;
} cottages[] = {{0.60, 0.800, 0.060, 0.038, 0.030}, {0.675, 0.806, 0.045, 0.032, 0.028},
    {0.74, 0.797, 0.070, 0.040, 0.034}, {0.835, 0.803, 0.050, 0.034, 0.026},
    {0.905, 0.796, 0.058, 0.036, 0.032}, {0.705, 0.785, 0.022, 0.075, 0.070}};
enum { COTTAGES = sizeof cottages / sizeof *cottages };

/* Which cottage is here: its number, or -1. part: 0 wall, 1 lit window, 2 roof. */
static int cottage_at(double x, double y, int *part) {
    for (int i = COTTAGES - 1; i >= 0; i--) {
        double u = (x - cottages[i].x) / cottages[i].w,
               v = (cottages[i].y - y) / cottages[i].h;
        double r = (cottages[i].y - cottages[i].h - y) / cottages[i].roof;
        if (u > 0 && u < 1 && v > 0 && v <= 1) {
            double pane = fabs(fmod(u * (i == 5 ? 1 : 2), 1) - 0.5);
            *part = pane < 0.2 && v > 0.35 && v < 0.75;
            return i;
        }
        if (r > 0 && r < 1 && fabs(u - 0.5) < 0.58 * (1 - r)) {
            *part = 2;
            return i;
        }
    }
    return -1;
}

static region region_of(double x, double y) {
    int part;
    if (fabs(x - tree_axis(y)) < tree_width(y)) return TREE;
    if (cottage_at(x, y, &part) >= 0) return HOUSE;
    if (y > field_edge(x)) return FIELD;
    if (y > near_hills(x)) return SLOPE;
    if (y > far_hills(x)) return HILLS;
    for (int i = 0; i < LAMPS; i++)
        if (hypot(x - lamps[i].x, y - lamps[i].y) < lamps[i].halo) return LIGHT;
    return SKY;
}

/* The stream function of the sky: strokes follow its contours, colours its bands. */
static double stream(double x, double y) {
    double psi =
        y * 1.0 + 0.035 * sin(x * 6.5 + 1 + y * 3) + 0.02 * sin(x * 13 - y * 9);
    for (int i = 0; i < WHIRLS; i++) {
        double r2 = pow(x - whirls[i].x, 2) + pow(y - whirls[i].y, 2);
        psi +=
            whirls[i].turn * whirls[i].size * 1.9 * exp(-r2 / pow(whirls[i].size, 2));
    }
    return psi;
}

static double direction(double x, double y) {
    const double e = 1e-4;
    switch (region_of(x, y)) {
    case LIGHT:
        for (int i = 0; i < LAMPS; i++)
            if (hypot(x - lamps[i].x, y - lamps[i].y) < lamps[i].halo)
                return atan2(y - lamps[i].y, x - lamps[i].x) + M_PI / 2 + 0.08;
        /* fallthrough */
    case SKY: {
        double dx = stream(x + e, y) - stream(x - e, y),
               dy = stream(x, y + e) - stream(x, y - e);
        double turn = atan2(-dx, dy);
        for (int i = 0; i < WHIRLS; i++) { /* inwards a little: spirals */
            double r = hypot(x - whirls[i].x, y - whirls[i].y) / whirls[i].size;
            if (r < 1.6)
                turn += (whirls[i].turn > 0 ? 0.16 : -0.16) * smooth(1.6, 0.5, r);
        }
        return turn;
    }
    case HILLS:
        return atan2(far_hills(x + 0.01) - far_hills(x - 0.01), 0.02) +
               0.5 * sin(y * 40 + x * 14) + 0.25;
    case SLOPE:
        return atan2(near_hills(x + 0.01) - near_hills(x - 0.01), 0.02) - 0.35 +
               0.4 * sin(x * 21);
    case FIELD: { /* furrows that run together at a point far off, and sway */
        double turn = atan2(y - 0.62, (x - 0.78) * 1.4);
        return turn + 0.35 * sin(x * 9 + y * 22) + 0.2 * sin(x * 31);
    }
    case TREE: {
        double side = (x - tree_axis(y)) / fmax(tree_width(y), 1e-3);
        return M_PI / 2 + 0.5 * sin(y * 26 + x * 40) + 0.35 * side;
    }
    case HOUSE: {
        int part, i = cottage_at(x, y, &part);
        if (part == 2) return x < cottages[i].x + cottages[i].w / 2 ? -0.8 : 0.8;
        return (i & 1) ? M_PI / 2 : 0;
    }
    }
    return 0;
}

static vec ramp(const unsigned *colours, int count, double t) {
    t = clamp(t, 0, 0.9999) * (count - 1);
    int i = (int)t;
    return mix(colour(colours[i]), colour(colours[i + 1]), t - i);
}

static vec sky_colour(double x, double y) {
    static const unsigned band[] = {
        0x0e1a4a, 0x16296e, 0x1f4a9c, 0x2a63b4, 0x4f8fc4, 0x8fbcd0, 0xd8e4d4};
    double phase = stream(x, y) * 52, near = 0;
    for (int i = 0; i < WHIRLS; i++) {
        double dx = x - whirls[i].x, dy = y - whirls[i].y,
               r = hypot(dx, dy) / whirls[i].size;
        double k = exp(-r * r * 0.55);
        near = fmax(near, k);
        phase +=
            (whirls[i].turn > 0 ? 2.0 : -2.0) * atan2(dy, dx) * smooth(2.1, 1.2, r);
    }
    double tone = 0.24 + 0.34 * smooth(0.05, 0.62, y) + 0.15 * near;
    tone +=
        (0.15 + 0.17 * near) * sin(phase) + 0.22 * (octaves(x * 7, y * 7, 3, 3) - 0.5);
    vec c = ramp(band, 7, tone);
    vec warm = mix(colour(0xd9b95a), colour(0x9fc0a0), octaves(x * 15, y * 15, 1, 2));
    return mix(c, warm,
        0.75 * smooth(0.55, 0.72, y + 0.14 * (octaves(x * 5, y * 18, 6, 3) - 0.5)) *
            0.8);
}

static vec motif(double x, double y) {
    static const unsigned glow[] = {
        0xfff6cc, 0xffe27a, 0xf2bf3a, 0xe8d27a, 0xb8cf9a, 0x6fa6ac, 0x2f62a4};
    static const unsigned hills[] = {0x101c40, 0x1c3560, 0x2a567a, 0x3f7c86, 0x6a9a86};
    static const unsigned slope[] = {0x14301f, 0x2c5a34, 0x55803c, 0x8a9e48, 0x2f6a66};
    static const unsigned wheat[] = {
        0x6a4a18, 0xa87420, 0xd9a02c, 0xf0c850, 0xfae69a, 0x8a8a34};
    static const unsigned tree[] = {0x0a140e, 0x12261a, 0x1f3c22, 0x3a5a28, 0x6a5a2a};
    double fine = octaves(x * 40, y * 40, 2, 3), broad = octaves(x * 9, y * 9, 8, 3);
    switch (region_of(x, y)) {
    case SKY:
        return sky_colour(x, y);
    case LIGHT:
        for (int i = 0; i < LAMPS; i++) {
            double r = hypot(x - lamps[i].x, y - lamps[i].y);
            if (r >= lamps[i].halo) continue;
            double t = r < lamps[i].body ? 0.30 * r / lamps[i].body
                                         : 0.36 + 0.64 * (r - lamps[i].body) /
                                                      (lamps[i].halo - lamps[i].body);
            t += r > lamps[i].body ? 0.11 * sin(r * 330) : 0;
            return mix(ramp(glow, 7, t), sky_colour(x, y), smooth(0.72, 1.02, t) * 0.8);
        }
        return sky_colour(x, y);
    case HILLS:
        return ramp(hills, 5,
            0.30 + 1.1 * (broad - 0.5) + 0.3 * sin((y - far_hills(x)) * 95) +
                0.35 * smooth(0.02, 0, y - far_hills(x)));
    case SLOPE:
        return ramp(slope, 5,
            0.42 + 1.2 * (broad - 0.5) + 0.25 * sin((y - near_hills(x)) * 120));
    case FIELD: {
        double furrow =
            sin(atan2(y - 0.62, (x - 0.78) * 1.4) * 44 + 2 * sin(x * 9 + y * 22));
        return ramp(wheat, 6,
            0.42 + 0.24 * furrow + 0.8 * (broad - 0.5) + 0.3 * (fine - 0.5) -
                0.25 * smooth(0.9, 1.02, y));
    }
    case TREE: {
        double side = (x - tree_axis(y)) / fmax(tree_width(y), 1e-3);
        return ramp(tree, 5,
            0.34 + 0.28 * side + 1.1 * (fine - 0.5) + 0.25 * sin(y * 60 + side * 5));
    }
    case HOUSE: {
        static const unsigned walls[] = {
            0xc9b48a, 0x7f97a8, 0xd8c49a, 0x9a8f86, 0xb7a070, 0x9fb0b4};
        static const unsigned roofs[] = {
            0x9a3d22, 0x5a2c2c, 0xb4532a, 0x3c3f5a, 0x8a3a2a, 0x2c4a6a};
        int part, i = cottage_at(x, y, &part);
        return part == 1 ? colour(0xffd25a) : colour(part == 2 ? roofs[i] : walls[i]);
    }
    }
    return v3(0, 0, 0);
}

/* --- strokes --- */

typedef struct stroke {
    int id, steps;
    double x[MAX_STEPS + 1], y[MAX_STEPS + 1]; /* the path, in pixels */
    double width;                              /* half of it */
    double body;                               /* how thick the paint is */
    vec colour, second;                        /* two paints, not quite mixed */
} stroke;

static double apart(vec a, vec b) { /* as the eye has it, roughly */
    return fabs(sqrt(a[0]) - sqrt(b[0])) + fabs(sqrt(a[1]) - sqrt(b[1])) +
           fabs(sqrt(a[2]) - sqrt(b[2]));
}

/* Follow the directions from (x, y), half the length back and half forth, while the
 * motif stays of one region and about one colour. */
static void follow(
    stroke *s, double x, double y, double length, vec wanted, double tolerance) {
    double path[2][MAX_STEPS / 2 + 1][2], step = length / MAX_STEPS;
    int count[2] = {0, 0};
    region home = region_of(x / HEIGHT, y / HEIGHT);
    for (int way = 0; way < 2; way++) {
        double px = x, py = y,
               turn = direction(x / HEIGHT, y / HEIGHT) + (way ? 0 : M_PI);
        while (count[way] < MAX_STEPS / 2) {
            double next = direction(px / HEIGHT, py / HEIGHT);
            if (cos(next - turn) < 0) next += M_PI;
            turn = next, px += step * cos(turn), py += step * sin(turn);
            if (region_of(px / HEIGHT, py / HEIGHT) != home) break;
            if (apart(motif(px / HEIGHT, py / HEIGHT), wanted) > tolerance) break;
            path[way][count[way]][0] = px, path[way][count[way]++][1] = py;
        }
    }
    s->steps = 0;
    for (int i = count[0] - 1; i >= 0; i--, s->steps++)
        s->x[s->steps] = path[0][i][0], s->y[s->steps] = path[0][i][1];
    s->x[s->steps] = x, s->y[s->steps] = y;
    for (int i = 0; i < count[1]; i++)
        s->steps++, s->x[s->steps] = path[1][i][0], s->y[s->steps] = path[1][i][1];
}

/* One touch of the brush at a pixel: t 0..1 along, a -1..1 across. */
static void touch(
    const stroke *s, int px, int py, double t, double a, double travelled) {
    if (px < 0 || py < 0 || px >= WIDTH || py >= HEIGHT || painted_by[py][px] == s->id)
        return;
    double bristle = noise(a * s->width * 0.42 + s->id * 7.3, travelled * 0.012, s->id);
    double streak =
        noise(a * s->width * 0.2 + s->id * 3.1, travelled * 0.006, s->id + 0.5);
    double ragged = 0.82 + 0.18 * noise(travelled * 0.11, a > 0 ? 3 : 9, s->id);
    double tip = t < 0.12 ? sqrt(1 - pow(1 - t / 0.12, 2)) : 1;
    if (fabs(a) > ragged * tip) return;
    if (t > 0.72 && bristle < (t - 0.72) / 0.28 * 0.85) return; /* the brush runs dry */
    painted_by[py][px] = s->id;
    vec c = mix(s->colour, s->second, smooth(0.45, 0.75, streak));
    paint[py][px] = c * (0.86 + 0.28 * bristle);
    double edge = 0.55 + 0.65 * pow(fabs(a), 3) + (t > 0.6 ? 0.3 * (t - 0.6) : 0);
    relief[py][px] = 0.45 * relief[py][px] + s->body * edge * (0.35 + 1.0 * bristle);
}

static void draw(const stroke *s) {
    double travelled = 0, w = s->width;
    for (int i = 0; i < s->steps; i++) {
        double dx = s->x[i + 1] - s->x[i], dy = s->y[i + 1] - s->y[i],
               length = hypot(dx, dy);
        if (length < 1e-6) continue;
        dx /= length, dy /= length;
        int left = (int)(fmin(s->x[i], s->x[i + 1]) - w),
            right = (int)(fmax(s->x[i], s->x[i + 1]) + w + 1);
        int top = (int)(fmin(s->y[i], s->y[i + 1]) - w),
            foot = (int)(fmax(s->y[i], s->y[i + 1]) + w + 1);
        for (int y = top; y <= foot; y++)
            for (int x = left; x <= right; x++) {
                double along = (x - s->x[i]) * dx + (y - s->y[i]) * dy;
                double across = (y - s->y[i]) * dx - (x - s->x[i]) * dy;
                if (along < -1 || along > length + 1 || fabs(across) > w) continue;
                touch(s, x, y, (i + along / length) / s->steps, across / w,
                    travelled + along);
            }
        travelled += length;
    }
}

/* A layer: strokes from a jittered grid, in a shuffled order. */
typedef struct layer {
    double spacing, width, length, tolerance, body, lively;
    double share; /* of the places, that get a stroke */
} layer;

typedef struct place {
    uint64_t key;
    int x, y;
} place;

static int by_key(const void *a, const void *b) {
    uint64_t i = ((const place *)a)->key, j = ((const place *)b)->key;
    return i < j ? -1 : i > j;
}

static int lay(const layer *l, int number, int first_id) {
    int columns = (int)(WIDTH / l->spacing) + 2, rows = (int)(HEIGHT / l->spacing) + 2,
        id = first_id;
    place *places = malloc(sizeof *places * (size_t)(columns * rows));
    if (!places) abort();
    for (int i = 0; i < columns * rows; i++)
        places[i] = (place){hash(i, number, 1), i % columns, i / columns};
    qsort(places, (size_t)(columns * rows), sizeof *places, by_key);
    for (int i = 0; i < columns * rows; i++) {
        dice d = {hash(places[i].x, places[i].y, number + 100)};
        double x = (places[i].x - 0.5 + roll(&d)) * l->spacing,
               y = (places[i].y - 0.5 + roll(&d)) * l->spacing;
        if (roll(&d) > l->share) continue;
        region where = region_of(x / HEIGHT, y / HEIGHT);
        double small = where == HOUSE   ? 0.45
                       : where == LIGHT ? 0.75
                       : where == TREE  ? 0.8
                                        : 1;
        vec wanted = motif(x / HEIGHT, y / HEIGHT);
        double value = 1 + l->lively * (roll(&d) - 0.5),
               warm = l->lively * 0.35 * (roll(&d) - 0.5);
        stroke s = {.id = ++id,
            .width = l->width * small * (0.75 + 0.5 * roll(&d)),
            .body = l->body};
        s.colour = (wanted * value) * v3(1 + warm, 1, 1 - warm);
        s.second = (wanted * (value * (0.6 + 0.9 * roll(&d)))) *
                   v3(1 - warm, 1 + warm * 0.5, 1 + warm);
        follow(
            &s, x, y, l->length * small * (0.6 + 0.8 * roll(&d)), wanted, l->tolerance);
        if (s.steps > 3) draw(&s);
    }
    free(places);
    return id;
}

static double height_at(int x, int y) {
    x = x < 0        ? 0
        : x >= WIDTH ? WIDTH - 1
                     : x,
    y = y < 0         ? 0
        : y >= HEIGHT ? HEIGHT - 1
                      : y;
    return relief[y][x];
}

/* The paint under a lamp: relief as light and shade, wet gleams on the ridges. */
static vec lit(int x, int y) {
    double dx = height_at(x + 1, y) - height_at(x - 1, y) +
                0.5 * (height_at(x + 2, y) - height_at(x - 2, y));
    double dy = height_at(x, y + 1) - height_at(x, y - 1) +
                0.5 * (height_at(x, y + 2) - height_at(x, y - 2));
    vec n = unit(v3(-dx, -dy, 1.6)), lamp = unit(v3(-0.5, -0.62, 0.75));
    double light = dot(n, lamp) / 0.685,
           gleam = pow(clamp(dot(n, unit(lamp + v3(0, 0, 1))), 0, 1), 40);
    return paint[y][x] * (0.30 + 0.70 * clamp(light, 0, 1.7)) +
           v3(1, 0.97, 0.9) * (0.05 * gleam);
}

int main(int argc, char **argv) {
    if (argc != 2 || VIPS_INIT(argv[0])) {
        fprintf(stderr, "usage: sample_painting OUT.jpg\n");
        return 2;
    }
    static const layer layers[] = {{22, 27, 260, 1.2, 0.6, 0.35, 1},
        {12, 15, 150, 0.50, 1.3, 0.5, 1}, {10, 10.5, 105, 0.36, 1.9, 0.6, 0.8},
        {9, 7.2, 72, 0.26, 2.3, 0.8, 0.42}};
    for (int y = 0; y < HEIGHT; y++) /* a ground of burnt earth on canvas */
        for (int x = 0; x < WIDTH; x++) {
            paint[y][x] = colour(0x7a5230) * (0.9 + 0.2 * noise(x * 0.2, y * 0.2, 0));
            relief[y][x] = 0.25 * (sin(x * 1.1) * sin(y * 1.1));
        }
    int id = 0;
    for (int i = 0; i < (int)(sizeof layers / sizeof *layers); i++)
        id = lay(&layers[i], i, id);
    static vec picture[HEIGHT / SCALE * (WIDTH / SCALE)];
    for (int y = 0; y < HEIGHT; y++)
        for (int x = 0; x < WIDTH; x++) {
            vec *to = &picture[y / SCALE * (WIDTH / SCALE) + x / SCALE];
            *to += lit(x, y) / (SCALE * SCALE);
        }
    return save(argv[1], picture, WIDTH / SCALE, HEIGHT / SCALE);
}
