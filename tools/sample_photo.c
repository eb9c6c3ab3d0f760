/* SPDX-License-Identifier: MIT
 *
 * sample_photo.c: the sample "photograph" of the demonstration, a harbour in the
 * afternoon: a small path tracer over convex solids, one bounce of light, sun with a
 * soft edge, water that mirrors, a panorama of hills and clouds behind. Takes minutes.
 *     sample_photo 'photo.jpg[Q=90,strip]'
 */
#include "sample_scene.h"

enum { WIDTH = 640, HEIGHT = 448, GRID = 5 }; /* GRID x GRID rays a pixel */
enum { PAN_WIDTH = 1620, PAN_HEIGHT = 702 };  /* 90 x 39 degrees */
static const double far_away = 1e9, pan_low = -3;
static const vec sunlight = {3.5, 2.8, 1.98}, haze = {0.62, 0.72, 0.84};
static vec sun; /* towards it */
static vec panorama[PAN_HEIGHT][PAN_WIDTH];
static float pan_distance[PAN_HEIGHT][PAN_WIDTH];

typedef struct hit {
    double t;
    vec n;
    const solid *of;
} hit;

/* --- the panorama: hills and sky --- */

static vec clear_sky(vec d) {
    double e = clamp(d[1], 0, 1);
    vec sky = mix(v3(0.60, 0.72, 0.86), v3(0.085, 0.22, 0.55),
        pow(e * 1.5 > 1 ? 1 : e * 1.5, 0.55));
    return sky + (v3(0.5, 0.42, 0.3) * (pow(clamp(dot(d, sun), 0, 1), 6) * 0.4));
}

static double cloud_density(vec p) {
    double level = (p[1] - 800) / 900;
    if (level < 0 || level > 1) return 0;
    double shape = octaves(p[0] / 1500 + 3.7, p[1] / 1500, p[2] / 1500 + 1.3, 3);
    double detail = octaves(p[0] / 330, p[1] / 330, p[2] / 330 + 4, 4);
    double edge = 0.53 + 0.16 * level * level + (level < 0.08 ? (0.08 - level) * 2 : 0);
    return smooth(edge, edge + 0.13, shape * 0.8 + detail * 0.24);
}

static vec cloudy_sky(vec d) {
    vec sky = clear_sky(d), sum = v3(0, 0, 0);
    double through = 1, from = 800 / d[1], to = 1700 / d[1];
    if (d[1] < 0.02 || from > 16000) return sky;
    int steps = 44;
    for (int i = 0; i < steps && through > 0.02; i++) {
        double t =
            from + (to - from) *
                       (i + chance((int64_t)(d[0] * 1e6), (int64_t)(d[1] * 1e6), i)) /
                       steps;
        vec p = d * t;
        double here = cloud_density(p), length = fmin((to - from) / steps, 90);
        if (here <= 0) continue;
        double shade = 0;
        for (int k = 1; k <= 5; k++) shade += cloud_density(p + sun * (k * k * 14));
        double light = 0.72 * exp(-shade * 0.75) + 0.28 * exp(-shade * 0.2);
        vec lit = v3(1.18, 1.06, 0.92) * light + v3(0.30, 0.37, 0.47) * 0.75;
        lit = mix(lit, clear_sky(v3(d[0], 0.03, d[2])), 1 - exp(-t / 14000));
        double opaque = 1 - exp(-here * length * 0.02);
        sum = sum + lit * (through * opaque), through *= 1 - opaque;
    }
    return sum + sky * through;
}

static double ground(double x, double z) {
    double shore = 330 + 90 * noise(x / 210, 3, 0.5) - 0.25 * x, inland = z - shore;
    if (inland < 0) return -1;
    double hills = inland * 0.10 + smooth(0, 700, inland) * 260 *
                                       pow(octaves(x / 420, z / 420, 7, 7), 1.3) *
                                       (0.4 + 0.9 * noise(x / 900, z / 900, 1.7));
    double range = smooth(2600, 5200, z) * 1500 *
                   pow(octaves(x / 2300 + 1.1, z / 2300, 2, 7), 1.5);
    return fmin(hills, 120 + hills * 0.25) + range;
}

/* Colour of the land at p, lit by the sun. */
static vec land(vec p, double distance) {
    double e = 1.5 + distance / 400,
           gx = ground(p[0] + e, p[2]) - ground(p[0] - e, p[2]);
    double gz = ground(p[0], p[2] + e) - ground(p[0], p[2] - e);
    vec n = unit(v3(-gx, 2 * e, -gz));
    double woods = smooth(0.40, 0.47, octaves(p[0] / 90, p[2] / 90, 4, 4));
    double field = chance((int64_t)floor(p[0] / 60 + noise(p[2] / 50, 0, 0)),
        (int64_t)floor(p[2] / 110), 3);
    vec grass = mix(colour(0x66783a), colour(0xa8945a), field);
    double crowns = octaves(p[0] / 7, p[2] / 7, p[1] / 7, 3);
    vec forest = mix(colour(0x16240f), colour(0x46602a), crowns);
    vec c = mix(grass, forest, woods);
    c = mix(c, colour(0x8d8a86), smooth(330, 520, p[1] + 120 * n[0]));
    c = mix(c, v3(0.86, 0.88, 0.92), smooth(560, 700, p[1] + 160 * (n[1] - 0.8)));
    double direct = clamp(dot(n, sun), 0, 1) * (woods > 0.5 ? 0.75 + 0.4 * crowns : 1);
    vec light = sunlight * (direct * 0.75) + v3(0.26, 0.33, 0.42);
    c = c * light;
    double village = chance((int64_t)floor(p[0] / 9), (int64_t)floor(p[2] / 14), 9);
    if (p[1] < 38 && village > 0.90 && woods < 0.7) /* far houses: a wall or a roof */
        c = (village > 0.95 ? colour(0xf2e8d6) : colour(0xb0583c)) * 1.5;
    return mix(c, haze * 0.92, 1 - exp(-distance / 3300));
}

static void paint_panorama(void) {
    for (int r = 0; r < PAN_HEIGHT; r++)
        for (int c = 0; c < PAN_WIDTH; c++) {
            double turn = (c - PAN_WIDTH / 2 + 0.5) / 18 * M_PI / 180;
            double rise = ((r + 0.5) / 18 + pan_low) * M_PI / 180;
            vec d = v3(sin(turn) * cos(rise), sin(rise), cos(turn) * cos(rise)), p = d;
            double t = 180, above = 1;
            while (t < 9000) {
                p = v3(0, 5, 0) + d * t, above = p[1] - ground(p[0], p[2]);
                if (above < 0 || p[1] > 1300) break;
                t += fmax(above * 0.3, t * 0.0016);
            }
            int hit_land = above < 0 && p[1] > -0.5;
            panorama[r][c] = hit_land ? land(p, t) : cloudy_sky(d);
            pan_distance[r][c] = hit_land ? (float)t : 1e9f;
        }
}

static vec look_up(vec d, double *distance) {
    double c = atan2(d[0], d[2]) * 180 / M_PI * 18 + PAN_WIDTH / 2 - 0.5;
    double r = (asin(clamp(d[1], -1, 1)) * 180 / M_PI - pan_low) * 18 - 0.5;
    if (distance) *distance = far_away;
    if (c < 0 || c >= PAN_WIDTH - 1 || r >= PAN_HEIGHT - 1) return clear_sky(d);
    if (r < 0) r = 0;
    int i = (int)r, j = (int)c;
    if (distance) *distance = (double)pan_distance[i][j];
    vec low = mix(panorama[i][j], panorama[i][j + 1], c - j);
    return mix(low, mix(panorama[i + 1][j], panorama[i + 1][j + 1], c - j), r - i);
}

/* --- rays --- */

static int meets_box(vec o, vec inv, vec low, vec high, double far) {
    double a = (low[0] - o[0]) * inv[0], b = (high[0] - o[0]) * inv[0];
    double near = fmin(a, b), end = fmax(a, b);
    a = (low[1] - o[1]) * inv[1], b = (high[1] - o[1]) * inv[1];
    near = fmax(near, fmin(a, b)), end = fmin(end, fmax(a, b));
    a = (low[2] - o[2]) * inv[2], b = (high[2] - o[2]) * inv[2];
    near = fmax(near, fmin(a, b)), end = fmin(end, fmax(a, b));
    return end >= fmax(near, 0) && near < far;
}

static void meet_solid(const solid *s, vec o, vec d, hit *best) {
    double near = 1e-4, end = best->t;
    vec n = v3(0, 0, 0);
    int entered = 0;
    if (s->planes == 0) {
        vec to = s->centre - o;
        double b = dot(to, d), disc = b * b - dot(to, to) + s->radius * s->radius;
        if (disc < 0 || b - sqrt(disc) < near || b - sqrt(disc) >= end) return;
        near = b - sqrt(disc);
        n = unit(o + d * near - s->centre), entered = 1;
    }
    for (int i = 0; i < s->planes; i++) {
        double along = dot(s->n[i], d), gap = s->d[i] - dot(s->n[i], o);
        if (fabs(along) < 1e-12) {
            if (gap < 0) return;
        } else if (along < 0) {
            if (gap / along > near) near = gap / along, n = s->n[i], entered = 1;
        } else if (gap / along < end) {
            end = gap / along;
        }
        if (near >= end) return;
    }
    if (entered) *best = (hit){near, n, s};
}

static hit trace(vec o, vec d, double far, int any) {
    hit best = {.t = far};
    vec inv = v3(1 / d[0], 1 / d[1], 1 / d[2]);
    for (int g = 0; g < group_count; g++) {
        if (!meets_box(o, inv, groups[g].low, groups[g].high, best.t)) continue;
        for (int i = groups[g].first; i < groups[g].first + groups[g].count; i++) {
            if (meets_box(o, inv, solids[i].low, solids[i].high, best.t))
                meet_solid(&solids[i], o, d, &best);
            if (any && best.of) return best;
        }
    }
    return best;
}

/* --- surfaces --- */

typedef struct surface {
    vec colour, n;
    double mirror; /* how much it mirrors, seen straight on */
    double shadow; /* of what is too small to be a solid */
} surface;

/* A window w x h with its lower left corner at 0: the point (a, y) of the wall, the ray
 * d and the sun in the wall's own axes (along, up, out). */
static void window(surface *s, double a, double y, double w, double h, vec d, vec light,
    int seed, int shop) {
    const double deep = 0.16, frame = shop ? 0.10 : 0.085;
    double ia = a - d[0] * deep / d[2], iy = y - d[1] * deep / d[2]; /* on the pane */
    s->mirror = 0;
    if (ia < 0 || ia > w || iy < 0 || iy > h) {
        s->colour = s->colour * 0.8, s->shadow = iy > h ? 0.2 : 0.7; /* the reveal */
        return;
    }
    double sa = ia + light[0] * deep / light[2], sy = iy + light[1] * deep / light[2];
    s->shadow = light[2] > 0 && sa > 0 && sa < w && sy > 0 && sy < h ? 1 : 0;
    double bars = fabs(fmod(ia / w * 2, 1) - 0.5) > 0.5 - 0.035 / w * 2 && !shop;
    double cross_bar = fabs(iy - h * 0.66) < 0.035;
    if (ia < frame || ia > w - frame || iy < frame || iy > h - frame || bars > 0 ||
        cross_bar > 0) {
        s->colour = shop ? colour(0x3f3026) : colour(0xf0ece0);
        return;
    }
    double curtain = chance(seed, 5, 5) > 0.35 ? 0.13 + 0.16 * chance(seed, 6, 6) : 0;
    int drawn = ia < w * curtain * 1.6 || ia > w * (1 - curtain * 1.6);
    s->colour =
        drawn ? colour(0xcfc8b8) * 0.55 : v3(0.05, 0.055, 0.06) * (0.6 + iy / h);
    if (shop) s->colour = mix(v3(0.20, 0.13, 0.06), v3(0.04, 0.035, 0.03), iy / h);
    s->mirror = 0.14;
}

static surface facade(const solid *of, vec p, vec n, vec d) {
    surface s = {of->colour, n, 0, 1};
    vec front = v3(of->along[2], 0, -of->along[0]), from = p - of->origin;
    double a = dot(from, of->along), y = p[1] - of->origin[1];
    double stain = octaves(p[0] * 0.5, p[1] * 0.35, p[2] * 0.5, 4),
           grain = noise(p[0] * 9, p[1] * 9, p[2] * 9);
    s.colour = s.colour * (0.82 + 0.26 * stain + 0.06 * grain);
    double streaks = octaves(p[0] * 3.1, p[1] * 0.22, p[2] * 3.1, 4);
    s.colour = s.colour *
               ((0.72 + 0.28 * smooth(0, 3, y + 2 * stain)) * (0.78 + 0.44 * streaks));
    if (of->seed % 3 == 1 && of->seed > 0) { /* brick */
        double course = floor(p[1] / 0.09),
               brick = floor(dot(p, of->along) / 0.3 + course / 2);
        s.colour = s.colour * (0.78 + 0.4 * chance((int64_t)course, (int64_t)brick, 8));
    }
    if (dot(n, front) < 0.99) return s;
    vec in = v3(dot(d, of->along), d[1], dot(d, front));
    vec light = v3(dot(sun, of->along), sun[1], dot(sun, front));
    if (of->seed == DORMER || of->seed == CABIN) { /* a dormer; a boat's cabin */
        int many = of->seed == DORMER ? 1 : 3;
        double cell = of->width / many, x = fmod(a, cell), w = cell - 0.5,
               h = of->height * 0.6;
        if (x > 0.25 && x < 0.25 + w && y > of->height * 0.22 &&
            y < of->height * 0.22 + h)
            window(&s, x - 0.25, y - of->height * 0.22, w, h, in, light, 1, 0);
        return s;
    }
    if (of->seed == TOWER) { /* the tower: brick, a clock, tall openings */
        double r = hypot(a - 3.5, y - 27.5);
        if (r < 1.9) s.colour = r < 1.6 ? colour(0xf4eedc) : colour(0xc8a040);
        if (r < 1.35 && (fabs(a - 3.5) < 0.14 && y > 27.5)) s.colour = colour(0x302820);
        if (r < 1.0 && (fabs(y - 27.5) < 0.14 && a > 3.5)) s.colour = colour(0x302820);
        if (y > 19 && y < 24 && fabs(fabs(a - 3.5) - 1.5) < 0.6)
            s.colour = v3(0.03, 0.03, 0.035);
        return s;
    }
    int columns = (int)(of->width / 2.05), floor_number = (int)((y - 0.8) / 3.2);
    double cell = of->width / columns;
    int column = (int)(a / cell);
    double x = a - column * cell, w = 1.08, left = (cell - w) / 2,
           v = y - 0.8 - floor_number * 3.2;
    int seed = of->seed * 100 + floor_number * 10 + column;
    if (y < 3.5) { /* the ground floor: shop windows, and one door */
        int door = column == of->seed % columns;
        double low = door ? 0 : 0.75, high = 2.75;
        if (y > 3.05 && y < 3.35) s.colour = colour(0x4a3c30) * 1.1;
        if (x < left - 0.2 || x > left + w + 0.2 || y < low || y > high) return s;
        if (door && (fabs(x - cell / 2) > 0.55)) return s;
        if (door)
            s.colour = y > 2.2 ? v3(0.06, 0.06, 0.07)
                               : colour(0x2f4a3c) * (fabs(x - cell / 2) > 0.45 ? 2 : 1);
        else
            window(
                &s, x - left + 0.2, y - low, w + 0.4, high - low, in, light, seed, 1);
        return s;
    }
    if (y > of->height - 0.3) { /* up in the gable: one window in the middle */
        x = a - of->width / 2 + w / 2, left = 0, v = y - of->height + 0.2;
        if (v > 3.1) return s;
    } else if (floor_number * 3.2 + 3.2 > of->height) {
        return s;
    }
    if (x > left && x < left + w && v > 0.8 && v < 2.6)
        window(&s, x - left, v - 0.8, w, 1.8, in, light, seed, 0);
    else if (x > left - 0.13 && x < left + w + 0.13 && v > 0.66 && v < 2.78)
        s.colour = colour(0xeee6d4) * 0.95;
    else if (of->seed % 3 == 0 && x > left - 0.62 && x < left + w + 0.62 && v > 0.8 &&
             v < 2.6)
        s.colour = (of->seed % 2 ? colour(0x3f6a58) : colour(0x6a3a30)) *
                   (0.8 + 0.3 * (fmod(v * 9, 1) > 0.35));
    return s;
}

static surface surface_of(const hit *h, vec p, vec d) {
    const solid *of = h->of;
    surface s = {of->colour, h->n, 0, 1};
    double grain = octaves(p[0] * 3, p[1] * 3, p[2] * 3, 3);
    switch (of->made_of) {
    case FACADE:
        return facade(of, p, h->n, d);
    case TILES: {
        double course = fmod(p[1] * 4.2, 1),
               patch = octaves(p[0] * 0.6, p[1], p[2] * 0.6, 3);
        s.colour = s.colour *
                   ((0.62 + 0.5 * patch + 0.25 * grain) * (course < 0.2 ? 0.72 : 1));
        break;
    }
    case QUAY: {
        double a = dot(p - quay, row), course = floor((p[1] + 8) / 0.46);
        double tone = chance(
            (int64_t)floor(a / 0.95 + 0.5 * fmod(course, 2)), (int64_t)course, 1);
        double joint =
            fmin(fmod(p[1] + 8, 0.46), fmod(a / 0.95 + 0.5 * fmod(course, 2) + 500, 1));
        if (h->n[1] > 0.5) tone = 0.5, joint = 1;
        s.colour =
            s.colour * ((0.62 + 0.35 * tone + 0.3 * grain) * (joint < 0.06 ? 0.55 : 1));
        s.colour =
            mix(colour(0x2c3420), s.colour, smooth(0.05, 0.75, p[1] + 0.3 * grain));
        break;
    }
    case HULL: {
        double y = p[1] - of->origin[1];
        if (h->n[1] > 0.8)
            s.colour = colour(0xb08a58) * (0.7 + 0.4 * grain);
        else if (y < 0.22)
            s.colour = colour(0x6a2a22);
        else if (y > of->height * 0.86)
            s.colour = colour(0xf2ecdc);
        s.mirror = h->n[1] > 0.8 ? 0 : 0.03;
        break;
    }
    case LEAF:
        s.n = unit(
            h->n +
            (v3(grain, noise(p[2] * 9, p[0] * 9, 0), 0.5) - v3(0.5, 0.5, 0.5)) * 0.9);
        break;
    case PLAIN:
    case FIGURE:
        s.colour = s.colour * (0.85 + 0.3 * grain);
        break;
    }
    return s;
}

/* --- light --- */

static vec radiance(vec o, vec d, int depth, dice *luck);

static vec in_the_sun(vec p, vec n, dice *luck) {
    vec jitter = v3(roll(luck) - 0.5, roll(luck) - 0.5, roll(luck) - 0.5);
    vec to = unit(sun + jitter * 0.022);
    double slant = dot(n, to);
    if (slant <= 0) return v3(0, 0, 0);
    return trace(p + n * 0.004, to, 400, 1).of ? v3(0, 0, 0) : sunlight * slant;
}

static vec scattered(vec n, dice *luck) { /* a direction, cosine-weighted */
    double turn = 2 * M_PI * roll(luck), r2 = roll(luck), r = sqrt(r2);
    vec side = unit(cross(n, fabs(n[1]) > 0.9 ? v3(1, 0, 0) : up));
    vec other = cross(n, side);
    return unit(
        side * (r * cos(turn)) + other * (r * sin(turn)) + n * sqrt(1 - r2 + 1e-9));
}

static vec water(vec p, vec d, double t, int depth, dice *luck) {
    double calm = 1 / (1 + t * 0.012), e = 0.02;
    double slope[2] = {0, 0};
    for (int wave = 0; wave < 4; wave++) { /* long swell, wind ripples, small ripples */
        static const double size[] = {0.22, 0.8, 2.3, 6.1},
                            strength[] = {0.030, 0.026, 0.012, 0.0040};
        double k = size[wave], x = p[0] * k, z = p[2] * k * 1.7 + wave * 31,
               here = noise(x, z, wave);
        slope[0] += strength[wave] * (noise(x + e, z, wave) - here) / e;
        slope[1] += strength[wave] * (noise(x, z + e, wave) - here) / e * 1.5;
    }
    double wind = 0.35 + 1.0 * smooth(0.35, 0.7, octaves(p[0] / 26, p[2] / 60, 3, 3));
    vec n = unit(v3(-slope[0] * wind * calm * 1.6, 1, -slope[1] * wind * calm * 1.6));
    double facing = clamp(-dot(n, d), 0, 1), fresnel = 0.02 + 0.98 * pow(1 - facing, 5);
    vec mirrored = d - (n * (2 * dot(n, d)));
    if (mirrored[1] < 0.003) mirrored[1] = 0.003;
    vec deep = mix(v3(0.012, 0.062, 0.066), v3(0.03, 0.10, 0.085), wind * 0.6);
    deep = deep * (0.9 + 0.5 * clamp(in_the_sun(p, up, luck)[0], 0, 1));
    vec seen = radiance(p, unit(mirrored), depth + 1, luck);
    return seen * (fresnel * 0.93) + deep * (1 - fresnel);
}

static vec radiance(vec o, vec d, int depth, dice *luck) {
    double sky_distance;
    vec sky = look_up(d, &sky_distance);
    double t_water = d[1] < 0 ? -o[1] / d[1] : far_away;
    hit h = trace(o, d, fmin(fmin(t_water, sky_distance), 3000), 0);
    if (!h.of) {
        if (t_water >= sky_distance || t_water > 5000) return sky;
        if (depth > 1) return v3(0.05, 0.09, 0.10);
        vec seen = water(o + d * t_water, d, t_water, depth, luck);
        return mix(seen, haze, 1 - exp(-t_water / 3800));
    }
    vec p = o + d * h.t;
    surface s = surface_of(&h, p, d);
    vec light = in_the_sun(p, s.n, luck) * s.shadow;
    if (h.of->made_of == LEAF) light = light + sunlight * 0.10;
    if (depth == 0) {
        vec from = scattered(h.n, luck);
        light = light + radiance(p + h.n * 0.004, from, 2, luck);
    } else {
        light = light + v3(0.26, 0.33, 0.42) * (0.55 + 0.35 * s.n[1]);
    }
    vec c = s.colour * light;
    if (s.mirror > 0 && depth < 2) {
        double facing = clamp(-dot(h.n, d), 0, 1);
        double share = s.mirror + (1 - s.mirror) * pow(1 - facing, 5);
        vec mirrored = d - (h.n * (2 * dot(h.n, d)));
        c = mix(c, radiance(p + h.n * 0.004, mirrored, 2, luck), share);
    }
    return mix(c, haze, 1 - exp(-h.t / 1500));
}

/* The film: exposure, a curve with a shoulder for the lights, vignette, grain. */
static vec develop(vec c, double x, double y, int i) {
    double vignette = 1 - 0.22 * (x * x + y * y), grain = 0;
    for (int k = 0; k < 4; k++) grain += chance(i, k, 77) - 0.5;
    vec v = c * (vignette * 0.61);
    v = v * (2.51 * v + 0.03) / (v * (2.43 * v + 0.59) + 0.14); /* Narkowicz: ACES */
    return v * (1 + 0.03 * grain) + 0.0012 * grain;
}

int main(int argc, char **argv) {
    if (argc != 2 || VIPS_INIT(argv[0])) {
        fprintf(stderr, "usage: sample_photo OUT.jpg\n");
        return 2;
    }
    static vec film[WIDTH * HEIGHT];
    sun = unit(v3(-0.10, 0.47, -0.86));
    build_scene();
    paint_panorama();
    vec eye = v3(0, 5.2, 0), ahead = unit(v3(0.02, 0.035, 1)),
        right = unit(cross(up, ahead));
    vec over = cross(ahead, right);
    for (int i = 0; i < WIDTH * HEIGHT; i++) {
        dice luck = {hash(i, 4, 4)};
        vec sum = v3(0, 0, 0);
        double x = 0, y = 0;
        for (int k = 0; k < GRID * GRID; k++) {
            double px = i % WIDTH + (k % GRID + roll(&luck)) / GRID;
            double py = i / WIDTH + (k / GRID + roll(&luck)) / GRID;
            x = (px - WIDTH / 2) / (WIDTH / 2), y = (HEIGHT / 2 - py) / (WIDTH / 2);
            vec d = unit(ahead + right * (x * 0.56) + over * (y * 0.56));
            vec c = radiance(eye, d, 0, &luck);
            sum = sum + v3(fmin(c[0], 6), fmin(c[1], 6), fmin(c[2], 6));
        }
        film[i] = develop(sum * (1.0 / (GRID * GRID)), x, y, i);
    }
    return save(argv[1], film, WIDTH, HEIGHT);
}
