/* SPDX-License-Identifier: MIT
 *
 * metadata.c: how a file says what a network wants to see. All values are strings, as the
 * container asks.
 */
#include "model/metadata.h"

#include <errno.h>
#include <jansson.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static imp_status bad(imp_ctx *ctx, const imp_safetensors *st, const char *key,
    const char *expected, const char *found) {
    return imp_fail(ctx, IMP_ERR_MODEL, "%s: metadata %s: expected %s, found '%.60s'",
        imp_safetensors_path(st), key, expected, found);
}

imp_status imp_metadata_number(imp_ctx *ctx, const imp_safetensors *st, const char *key,
    size_t otherwise, size_t *out) {
    const char *text = imp_safetensors_metadata(st, key);
    *out = otherwise;
    if (!text) return IMP_OK;
    char *end;
    errno = 0;
    long v = strtol(text, &end, 10);
    if (end == text || *end || errno || v < 1 || v > 65536)
        return bad(ctx, st, key, "a whole number of 1 to 65536", text);
    *out = (size_t)v;
    return IMP_OK;
}

imp_status imp_metadata_numbers(imp_ctx *ctx, const imp_safetensors *st,
    const char *key, size_t least, size_t out[IMP_MAX_LISTED], size_t *n) {
    const char *text = imp_safetensors_metadata(st, key), *at = text;
    *n = 0;
    while (at) {
        char *end;
        errno = 0;
        long v = strtol(at, &end, 10);
        bool more = *end == ',';
        if (end == at || (*end && !more) || errno || v < (long)least ||
            v > IMP_MAX_CHANNELS || *n == IMP_MAX_LISTED) {
            *n = 0;
            return bad(ctx, st, key,
                least ? "whole numbers of 1 to 65536, commas between"
                      : "whole numbers of 0 to 65536, commas between",
                text);
        }
        out[(*n)++] = (size_t)v;
        at = more ? end + 1 : NULL;
    }
    return IMP_OK;
}

/* A host may have set a locale that writes 0,5 for 0.5: files are in the C locale. */
static locale_t enter_c_locale(locale_t *before) {
    locale_t own = newlocale(LC_NUMERIC_MASK, "C", (locale_t)0);
    *before = uselocale(own);
    return own;
}

static void leave_c_locale(locale_t own, locale_t before) {
    uselocale(before);
    if (own) freelocale(own);
}

static double parse_number(const char *text, char **end) {
    locale_t before, own = enter_c_locale(&before);
    double v = strtod(text, end);
    leave_c_locale(own, before);
    return v;
}

/* One number a channel, comma-separated. */
static imp_status read_numbers(imp_ctx *ctx, const imp_safetensors *st, const char *key,
    size_t n, bool positive, float *out) {
    const char *text = imp_safetensors_metadata(st, key);
    if (!text) return IMP_OK;
    const char *at = text;
    for (size_t i = 0; i < n; i++) {
        char *end;
        double v = parse_number(at, &end);
        bool good = end != at && isfinite(v) && fabs(v) < 1e6 && (!positive || v > 0) &&
                    *end == (i + 1 < n ? ',' : '\0');
        if (!good)
            return bad(ctx, st, key,
                n == 1 ? "one number" : "three comma-separated numbers", text);
        out[i] = (float)v;
        at = end + 1;
    }
    return IMP_OK;
}

/* The number of text among n words; an error where it is none of them. */
static imp_status read_choice(imp_ctx *ctx, const imp_safetensors *st, const char *key,
    const char *const *words, size_t n, const char *expected, size_t *out) {
    const char *text = imp_safetensors_metadata(st, key);
    if (!text) return IMP_OK;
    for (size_t i = 0; i < n; i++)
        if (!strcmp(text, words[i])) {
            *out = i;
            return IMP_OK;
        }
    return bad(ctx, st, key, expected, text);
}

bool imp_metadata_is_text(const char *text) {
    json_t *value = json_string(text);
    json_decref(value);
    return value != NULL;
}

static imp_status read_labels(imp_ctx *ctx, imp_model *m, const imp_safetensors *st) {
    const char *text = imp_safetensors_metadata(st, "classes");
    if (!text || m->info.classes == 0) return IMP_OK;
    json_t *list = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    imp_status s = IMP_OK;
    if (!json_is_array(list) || json_array_size(list) != m->info.classes) {
        s = imp_fail(ctx, IMP_ERR_MODEL,
            "%s: metadata classes: expected a JSON array of %zu labels, found '%.60s'",
            imp_safetensors_path(st), m->info.classes, text);
        goto done;
    }
    m->labels = calloc(m->info.classes, sizeof *m->labels);
    for (size_t i = 0; i < m->info.classes && m->labels && !s; i++) {
        const char *label = json_string_value(json_array_get(list, i));
        if (!label)
            s = bad(ctx, st, "classes", "strings alone", text);
        else if (!(m->labels[i] = strdup(label)))
            s = imp_fail(ctx, IMP_ERR_LIMIT, "model: no memory");
    }
    if (!m->labels) s = imp_fail(ctx, IMP_ERR_LIMIT, "model: no memory");
done:
    json_decref(list);
    return s;
}

/* What a naming says where the metadata does not. */
static void input_of_naming(imp_input_spec *spec, imp_naming naming) {
    if (naming == IMP_NAMES_OWN) return; /* as the architecture's table has it */
    spec->bgr = false;
    spec->range = 1.0f;
    memcpy(spec->mean, (float[]){0.485f, 0.456f, 0.406f}, sizeof spec->mean);
    memcpy(spec->std, (float[]){0.229f, 0.224f, 0.225f}, sizeof spec->std);
}

imp_status imp_metadata_read(
    imp_ctx *ctx, imp_model *m, const imp_safetensors *st, imp_naming naming) {
    static const char *const orders[] = {"rgb", "bgr"}, *const grays[] = {"gray"};
    static const char *const ranges[] = {"1", "255"}, *const fits[] = {
                                                          "crop", "squash"};
    static const char *const flats[] = {"chw", "hwc"};
    imp_input_spec *spec = &m->info.input;
    const char *origin = imp_safetensors_metadata(st, "origin");
    const char *taught = imp_safetensors_metadata(st, "teacher.channels");
    m->info.random = origin && !strcmp(origin, "random");
    if (taught && !(m->taught = strdup(taught)))
        return imp_fail(ctx, IMP_ERR_LIMIT, "model: no memory");
    input_of_naming(spec, naming);
    bool gray = spec->channels == 1;
    size_t order = spec->bgr, range = spec->range > 1,
           fit = spec->fit == IMP_FIT_SQUASH;
    size_t flat = spec->flatten == IMP_FLATTEN_HWC;
    imp_status s =
        gray ? read_choice(ctx, st, "input.order", grays, 1, "gray", &order)
             : read_choice(ctx, st, "input.order", orders, 2, "rgb or bgr", &order);
    if (!s) s = read_choice(ctx, st, "input.range", ranges, 2, "1 or 255", &range);
    if (!s) s = read_choice(ctx, st, "input.fit", fits, 2, "crop or squash", &fit);
    if (!s) s = read_choice(ctx, st, "flatten", flats, 2, "chw or hwc", &flat);
    if (!s) s = read_numbers(ctx, st, "input.mean", spec->channels, false, spec->mean);
    if (!s) s = read_numbers(ctx, st, "input.std", spec->channels, true, spec->std);
    if (!s) s = read_labels(ctx, m, st);
    spec->bgr = !gray && order == 1;
    spec->range = range ? 255.0f : 1.0f;
    spec->fit = fit ? IMP_FIT_SQUASH : IMP_FIT_CROP;
    spec->flatten = flat ? IMP_FLATTEN_HWC : IMP_FLATTEN_CHW;
    return s;
}

/* --- writing --- */

static void numbers_to_text(const float *x, size_t n, char *out, size_t size) {
    locale_t before, own = enter_c_locale(&before);
    size_t at = 0;
    for (size_t i = 0; i < n && at < size; i++)
        at += (size_t)snprintf(out + at, size - at, i ? ",%.9g" : "%.9g", (double)x[i]);
    leave_c_locale(own, before);
}

/* Returns whether any is not 0. */
static bool widths_to_text(const size_t *widths, size_t n, char *out, size_t size) {
    size_t at = 0;
    bool any = false;
    for (size_t i = 0; i < n && at < size; i++) {
        at += (size_t)snprintf(out + at, size - at, i ? ",%zu" : "%zu", widths[i]);
        any |= widths[i] > 0;
    }
    return any;
}

static void add_pair(imp_metadata *md, const char *key, const char *value) {
    md->pairs[md->n++] = (imp_safetensors_pair){key, value};
}

imp_status imp_metadata_write(imp_ctx *ctx, imp_metadata *md, const imp_model *m) {
    const imp_input_spec *spec = &m->info.input;
    memset(md, 0, sizeof *md);
    numbers_to_text(spec->mean, spec->channels, md->numbers[0], sizeof md->numbers[0]);
    numbers_to_text(spec->std, spec->channels, md->numbers[1], sizeof md->numbers[1]);
    snprintf(md->numbers[2], sizeof md->numbers[2], "%zu", spec->size);
    snprintf(md->numbers[3], sizeof md->numbers[3], "%zu", m->info.divisor);
    size_t channels[IMP_MAX_LISTED], ranks[IMP_MAX_LISTED];
    size_t n = imp_zoo_widths(m, channels, ranks, IMP_MAX_LISTED);
    widths_to_text(channels, n, md->channels, sizeof md->channels);
    bool ranked = widths_to_text(ranks, n, md->ranks, sizeof md->ranks);
    add_pair(md, "architecture", m->architecture);
    if (m->info.listed) add_pair(md, "channels", md->channels);
    add_pair(md, "flatten", spec->flatten == IMP_FLATTEN_HWC ? "hwc" : "chw");
    if (imp_zoo_has_head(m)) add_pair(md, "head", "mean");
    add_pair(md, "input.fit", spec->fit == IMP_FIT_SQUASH ? "squash" : "crop");
    add_pair(md, "input.mean", md->numbers[0]);
    add_pair(md, "input.order",
        spec->channels == 1 ? "gray"
        : spec->bgr         ? "bgr"
                            : "rgb");
    add_pair(md, "input.range", spec->range > 1 ? "255" : "1");
    add_pair(md, "input.size", md->numbers[2]);
    add_pair(md, "input.std", md->numbers[1]);
    if (ranked) add_pair(md, "ranks", md->ranks);
    if (m->info.random) add_pair(md, "origin", "random");
    if (m->taught) add_pair(md, "teacher.channels", m->taught);
    if (m->info.divisor > 1) add_pair(md, "width.divisor", md->numbers[3]);
    if (!m->labels) return IMP_OK;
    json_t *list = json_array();
    for (size_t i = 0; i < m->info.classes; i++)
        json_array_append_new(list, json_string(m->labels[i]));
    md->labels = json_dumps(list, JSON_COMPACT);
    json_decref(list);
    if (!md->labels) return imp_fail(ctx, IMP_ERR_LIMIT, "model: no memory");
    add_pair(md, "classes", md->labels);
    return IMP_OK;
}

void imp_metadata_free(imp_metadata *md) {
    free(md->labels);
}
