/* SPDX-License-Identifier: MIT
 *
 * settings.c: options of stylize -> imp_style_options -> JSON.
 */
#include "settings.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report.h"

/* An option that is one member of imp_style_options. */
typedef struct field {
    const char *name; /* of the option */
    size_t offset;    /* in imp_style_options */
    int first;        /* a choice: what the first word is as the library's number */
} field;

#define AT(member) offsetof(imp_style_options, member)

static const field fields[] = {
    {"objective", AT(objective), IMP_NORMALISED},
    {"style-size", AT(style_size), 0},
    {"style-scale", AT(style_scale), 0},
    {"first-size", AT(first_size), 0},
    {"iterations", AT(iterations), 0},
    {"scale-iterations", AT(scale_iterations), 0},
    {"tolerance", AT(tolerance), 0},
    {"rematch", AT(rematch), 0},
    {"turn", AT(turn), 0},
    {"optimizer", AT(optimizer), IMP_ADAM},
    {"history", AT(history), 0},
    {"precondition", AT(precondition), 0},
    {"rate", AT(rate), 0},
    {"content-weight", AT(content_weight), 0},
    {"style-weight", AT(style_weight), 0},
    {"tv-weight", AT(tv_weight), 0},
    {"range-weight", AT(range_weight), 0},
    {"content-layers", AT(content_layers), 0},
    {"style-layers", AT(style_layers), 0},
    {"nearest-layers", AT(nearest_layers), 0},
    {"pooling", AT(pooling), IMP_POOL_MAX},
    {"padding", AT(first), IMP_PAD_ZERO},
    {"keep-colors", AT(colors), IMP_COLORS_STYLE},
    {"seed", AT(seed), 0},
};
enum { FIELDS = sizeof fields / sizeof *fields };

static const char terms[] = "gram|cov|wasserstein|nearest"; /* as imp_style_term */

static bool given(
    const app_command *command, const app_stylize_values *v, const char *name) {
    return app_given(command, v, app_find_option(command, name));
}

const char *app_init_name(imp_init init) {
    static const char *const names[] = {"content", "noise", "mix", "picture"};
    return names[init];
}

const char *app_term_name(imp_style_term term) {
    return app_choice(terms, (int)term);
}

imp_init app_init_of(const char *word) {
    for (int i = IMP_INIT_CONTENT; i < IMP_INIT_PICTURE; i++)
        if (strcmp(word, app_init_name((imp_init)i)) == 0) return (imp_init)i;
    return IMP_INIT_PICTURE;
}

/* --- options to the library's --- */

static bool known_preset(const char *name, imp_style_options *out) {
    *out = imp_style_preset(name);
    if (out->preset) return true;
    char list[256] = "";
    const char *nearest = imp_style_preset_name(0);
    for (size_t i = 0; imp_style_preset_name(i); i++) {
        const char *known = imp_style_preset_name(i);
        if (strlen(list) + strlen(known) + 3 < sizeof list)
            strcat(strcat(list, i ? ", " : ""), known);
        if (app_distance(name, known) < app_distance(name, nearest)) nearest = known;
    }
    app_error("--preset: expected one of %s, found %s; the nearest is %s", list, name,
        nearest ? nearest : "none");
    return false;
}

static void set_layers(const char **out, const app_names *names) {
    if (names->n == 0) return;
    for (size_t i = 0; i < names->n; i++) out[i] = names->values[i];
    out[names->n] = NULL;
}

static void take_field(
    const field *f, const app_option *o, const void *value, imp_style_options *out) {
    void *to = (char *)out + f->offset;
    int number;
    switch (o->type) {
    case APP_COUNT:
        *(size_t *)to = *(const size_t *)value;
        break;
    case APP_SEED:
        *(uint64_t *)to = *(const uint64_t *)value;
        break;
    case APP_NUMBER:
        *(double *)to = *(const double *)value;
        break;
    case APP_CHOICE:
        number = f->first + *(const int *)value;
        memcpy(to, &number, sizeof number); /* an enum */
        break;
    case APP_NAMES:
        set_layers(to, value);
        break;
    default:
        break;
    }
}

/* "nearest:0.5" into out. */
static bool take_term(const char *word, double out[IMP_STYLE_TERMS]) {
    char name[32];
    size_t n = strcspn(word, ":");
    double weight = 1;
    snprintf(name, sizeof name, "%.*s", (int)(n < sizeof name ? n : 0), word);
    bool good = !word[n] || app_read_number(word + n + 1, 0, 1e12, &weight);
    int nearest = 0;
    for (int i = 0; i < IMP_STYLE_TERMS; i++) {
        char known[32];
        snprintf(known, sizeof known, "%s", app_choice(terms, i));
        if (good && strcmp(name, known) == 0) {
            out[i] = weight;
            return true;
        }
        if (app_distance(name, known) < app_distance(name, app_choice(terms, nearest)))
            nearest = i;
    }
    app_error("--style-loss: expected gram, cov, wasserstein or nearest, each alone or "
              "with a :weight from 0 to 1e+12, found %s; the nearest is %s",
        word, app_choice(terms, nearest));
    return false;
}

static bool take_terms(const app_names *words, imp_style_options *o) {
    if (words->n == 0) return true;
    double total = 0;
    memset(o->terms, 0, sizeof o->terms);
    for (size_t i = 0; i < words->n; i++)
        if (!take_term(words->values[i], o->terms)) return false;
    for (size_t i = 0; i < IMP_STYLE_TERMS; i++) total += o->terms[i];
    if (total > 0) return true;
    app_error("--style-loss: expected a weight above 0, found none");
    return false;
}

static bool take_layer_weights(const app_numbers *weights, imp_style_options *o) {
    if (weights->n == 0) return true;
    size_t layers = 0;
    while (layers < IMP_STYLE_MAX_LAYERS && o->style_layers[layers]) layers++;
    if (weights->n != layers) {
        app_error("--layer-weights: expected %zu numbers, one a style layer, found %zu",
            layers, weights->n);
        return false;
    }
    memcpy(o->layer_weights, weights->values, layers * sizeof *o->layer_weights);
    o->layer_weights_given = true;
    return true;
}

int app_settings_take(
    const app_command *command, const app_stylize_values *v, imp_style_options *out) {
    if (!known_preset(v->preset ? v->preset : "painterly", out)) return APP_USAGE;
    if (v->size.width && !v->size.height) out->size = v->size.width;
    if (given(command, v, "style-scale")) out->style_size = 0; /* of the preset */
    for (size_t i = 0; i < FIELDS; i++) {
        const app_option *o = app_find_option(command, fields[i].name);
        if (app_given(command, v, o))
            take_field(&fields[i], o, (const char *)v + o->offset, out);
    }
    out->content_named = v->content_layers.n > 0;
    out->style_named = v->style_layers.n > 0;
    out->nearest_named = v->nearest_layers.n > 0;
    if (v->init) out->init = app_init_of(v->init);
    bool good =
        take_terms(&v->style_loss, out) && take_layer_weights(&v->layer_weights, out);
    if (good && !isnan(v->rate) && !v->like && out->optimizer != IMP_ADAM)
        app_note("--rate is Adam's alone: not used with lbfgs");
    return good ? 0 : APP_USAGE;
}

/* --- to JSON --- */

/* The member that an option's value is under. */
static const char *member(char *out, size_t size, const char *name) {
    snprintf(out, size, "%s", name);
    for (char *c = out; *c; c++)
        if (*c == '-') *c = '_';
    return out;
}

static void put(json_t *object, const char *name, json_t *value) {
    char key[64];
    if (value) json_object_set_new(object, member(key, sizeof key, name), value);
}

static json_t *json_layers(const char *const *layers) {
    json_t *list = json_array();
    for (size_t i = 0; i < IMP_STYLE_MAX_LAYERS && layers[i]; i++)
        json_array_append_new(list, app_json_text(layers[i]));
    return list;
}

static json_t *json_numbers(const double *values, size_t n) {
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) json_array_append_new(list, json_real(values[i]));
    return list;
}

/* NULL for a value that cannot be typed: it stands for "not set". */
static json_t *json_field(
    const field *f, const app_option *o, const imp_style_options *from) {
    const void *at = (const char *)from + f->offset;
    size_t count;
    double number;
    int word;
    switch (o->type) {
    case APP_COUNT:
        count = *(const size_t *)at;
        return (double)count < o->low ? NULL : json_integer((json_int_t)count);
    case APP_SEED:
        return app_json_seed(*(const uint64_t *)at);
    case APP_NUMBER:
        number = *(const double *)at;
        return number < o->low ? NULL : json_real(number);
    case APP_CHOICE:
        memcpy(&word, at, sizeof word);
        return json_string(app_choice(o->choices, word - f->first));
    case APP_NAMES:
        return json_layers(at);
    default:
        return NULL;
    }
}

static json_t *json_box(app_box box) {
    if (box.height == 0) return json_integer((json_int_t)box.width);
    return json_sprintf("%zux%zu", box.width, box.height);
}

static json_t *json_terms(const imp_style_options *o) {
    json_t *object = json_object();
    for (int i = 0; i < IMP_STYLE_TERMS; i++)
        if (o->terms[i] > 0)
            json_object_set_new(object, app_choice(terms, i), json_real(o->terms[i]));
    return object;
}

json_t *app_settings_json(const app_command *command, const app_stylize_values *v,
    const imp_style_options *o) {
    static const char *const precisions[] = {"fast", "exact"};
    json_t *object = json_object();
    size_t layers = 0;
    if (!object) return NULL;
    put(object, "preset", json_string(o->preset));
    put(object, "size", json_box(v->size.width ? v->size : (app_box){o->size, 0}));
    if (v->output_size.width) put(object, "output-size", json_box(v->output_size));
    for (size_t i = 0; i < FIELDS; i++) {
        if (strcmp(fields[i].name, "style-scale") == 0 && o->style_size) continue;
        const app_option *row = app_find_option(command, fields[i].name);
        put(object, row->name, json_field(&fields[i], row, o));
    }
    put(object, "style-loss", json_terms(o));
    while (layers < IMP_STYLE_MAX_LAYERS && o->style_layers[layers]) layers++;
    if (o->layer_weights_given)
        put(object, "layer-weights", json_numbers(o->layer_weights, layers));
    if (v->style_weights.n)
        put(object, "style-weights",
            json_numbers(v->style_weights.values, v->style_weights.n));
    put(object, "init", json_string(app_init_name(o->init)));
    put(object, "precision", json_string(precisions[v->common.precision]));
    put(object, "depth", json_string(v->depth ? "16" : "8"));
    if (v->quality != APP_ABSENT)
        put(object, "quality", json_integer((json_int_t)v->quality));
    return object;
}

const app_option *app_settings_find(const app_command *command, const char *name) {
    static const char *const others[] = {"preset", "size", "output-size", "style-loss",
        "layer-weights", "style-weights", "init", "precision", "depth", "quality"};
    for (size_t i = 0; i < FIELDS + sizeof others / sizeof *others; i++) {
        const char *option = i < FIELDS ? fields[i].name : others[i - FIELDS];
        char known[64];
        if (strcmp(member(known, sizeof known, option), name) == 0)
            return app_find_option(command, option);
    }
    return NULL;
}
