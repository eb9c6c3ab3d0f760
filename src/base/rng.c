/* SPDX-License-Identifier: MIT */
#include "base/base.h"

#include <math.h>
#include <string.h>

#define GOLDEN 0x9e3779b97f4a7c15u /* 2^64 / golden ratio, odd */

/* The finaliser of splitmix64 (Steele, Lea & Flood 2014): a bijection; mix(0) = 0. */
static uint64_t mix(uint64_t z) {
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* Number `counter` of the splitmix64 sequence that starts from mix(seed): neighbouring
 * seeds give sequences that lie far apart. */
uint64_t imp_random(uint64_t seed, uint64_t counter) {
    return mix(mix(seed) + GOLDEN * (counter + 1));
}

double imp_uniform(uint64_t seed, uint64_t counter) {
    return (double)(imp_random(seed, counter) >> 11) * 0x1p-53;
}

/* log x, x a normal number > 0. x = m 2^e with sqrt(1/2) <= m < sqrt 2 and
 * log m = 2 artanh s = 2 (s + s^3/3 + s^5/5 + ...), s = (m-1)/(m+1), |s| < 0.1716: the
 * terms beyond s^23 are below 1e-19. libm's differ from machine to machine. */
static double own_log(double x) {
    static const double ln2_high = 0x1.62e42fefa38p-1, ln2_low = 0x1.ef35793c7673p-45;
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    int e = (int)(bits >> 52) - 1023;
    bits = (bits & 0xfffffffffffffu) | (uint64_t)1023 << 52;
    double m;
    memcpy(&m, &bits, sizeof m);
    if (m > 1.4142135623730951) {
        m *= 0.5;
        e++;
    }
    double s = (m - 1) / (m + 1), z = s * s, p = 0;
    for (int k = 23; k >= 3; k -= 2) p = p * z + 1.0 / k;
    double tail = 2 * s * (p * z) + e * ln2_low;
    return e * ln2_high + (2 * s + tail);
}

/* cos 2 pi u, 0 <= u < 1. The turn is reduced without error to the nearest quarter;
 * then Taylor on |t| <= pi/4, whose next terms are below 1e-16. */
static double own_cos_turn(double u) {
    double quarter = floor(4 * u + 0.5);
    double t = 6.283185307179586477 * (u - 0.25 * quarter), z = t * t;
    double sine = 0, cosine = 0;
    for (int k = 17; k >= 3; k -= 2) sine = (sine + 1) * -z / (k * (k - 1));
    for (int k = 18; k >= 2; k -= 2) cosine = (cosine + 1) * -z / (k * (k - 1));
    sine = t + t * sine;
    cosine = 1 + cosine;
    switch ((int)quarter & 3) {
    case 0:
        return cosine;
    case 1:
        return -sine;
    case 2:
        return -cosine;
    default:
        return sine;
    }
}

/* Box & Muller 1958: sqrt(-2 log u1) cos(2 pi u2), u1 in (0, 1]. Drawn from a sequence
 * of its own, so that it shares nothing with imp_uniform of the same seed. */
double imp_normal(uint64_t seed, uint64_t counter) {
    uint64_t own = mix(seed) ^ GOLDEN;
    double u1 = 1 - imp_uniform(own, 2 * counter),
           u2 = imp_uniform(own, 2 * counter + 1);
    return sqrt(-2 * own_log(u1)) * own_cos_turn(u2);
}

void imp_shuffle(uint64_t seed, size_t *perm, size_t n) {
    for (size_t i = 0; i < n; i++) perm[i] = i;
    for (size_t i = n; i > 1; i--) {
        /* The remainder favours small values by n / 2^64: nobody will see it. */
        size_t j = (size_t)(imp_random(seed, i) % i), t = perm[i - 1];
        perm[i - 1] = perm[j];
        perm[j] = t;
    }
}
