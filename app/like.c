/* SPDX-License-Identifier: MIT
 *
 * like.c: the record of a painted picture, back to options. The file is not believed: its
 * values pass the checks that typed ones do, and it names no other file.
 */
#include "like.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "image_vips.h"
#include "report.h"

/* --- a value of JSON as one would type it --- */

static bool type_value(FILE *out, json_t *value);

static bool type_list(FILE *out, json_t *list) {
    bool good = true;
    for (size_t i = 0; good && i < json_array_size(list); i++) {
        json_t *item = json_array_get(list, i);
        if (i) fputc(',', out);
        good = !json_is_array(item) && !json_is_object(item) && type_value(out, item);
    }
    return good;
}

static bool type_pairs(FILE *out, json_t *object) {
    bool first = true;
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value) {
        if (!json_is_number(value)) return false;
        fprintf(out, "%s%s:%.17g", first ? "" : ",", key, json_number_value(value));
        first = false;
    }
    return true;
}

/* A value as one would type it; false: not of a kind that can be typed. */
static bool type_value(FILE *out, json_t *value) {
    if (json_is_string(value))
        fputs(json_string_value(value), out);
    else if (json_is_integer(value))
        fprintf(out, "%lld", (long long)json_integer_value(value));
    else if (json_is_real(value))
        fprintf(out, "%.17g", json_real_value(value));
    else if (json_is_array(value))
        return type_list(out, value);
    else if (json_is_object(value))
        return type_pairs(out, value);
    else
        return false;
    return true;
}

/* To be freed with free; NULL: no memory, or not to be typed. */
static char *typed(json_t *value) {
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    bool good = out && type_value(out, value);
    if (out && fclose(out) != 0) good = false;
    if (good) return text;
    free(text);
    return NULL;
}

/* --- settings --- */

/* Options of which the one makes the other void. */
static const char *const instead[][2] = {{"style-size", "style-scale"},
    {"style-scale", "style-size"}, {"layer-weights", "style-layers"}};
enum { INSTEAD = sizeof instead / sizeof *instead };

typedef struct likeness {
    const app_command *command;
    app_stylize_values *v;
    app_common typed; /* as it was before: what the user gave himself */
    const char *from;
} likeness;

/* Is this setting of the file to be passed over, because of what the user gave? */
static bool overruled(const likeness *l, const char *name) {
    if (app_given(l->command, &l->typed, app_find_option(l->command, name)))
        return true;
    for (size_t i = 0; i < INSTEAD; i++) {
        const app_option *other = app_find_option(l->command, instead[i][1]);
        if (strcmp(instead[i][0], name) == 0 && app_given(l->command, &l->typed, other))
            return true;
    }
    return false;
}

static int like_preset(const likeness *l, const char *name) {
    for (size_t i = 0; imp_style_preset_name(i); i++)
        if (strcmp(name, imp_style_preset_name(i)) == 0) {
            l->v->preset = imp_style_preset_name(i);
            return 0;
        }
    app_note("%s: the preset %s is unknown here: its settings alone are used", l->from,
        name);
    return 0;
}

static int like_init(const likeness *l, const char *name) {
    l->v->init = app_init_name(app_init_of(name)); /* a word of ours, that lasts */
    if (app_init_of(name) != IMP_INIT_PICTURE) return 0;
    if (strcmp(name, app_init_name(IMP_INIT_PICTURE)) == 0) {
        app_error("%s: it was begun from a picture: expected --init FILE", l->from);
        return APP_USAGE;
    }
    app_error("%s: setting init: expected content, noise, mix or picture, found %s",
        l->from, *name ? name : "no name");
    return IMP_ERR_DATA;
}

/* Is it of the file's form, and OUT's form has no such thing? */
static bool out_of_form(const likeness *l, const char *name) {
    bool form = strcmp(name, "quality") == 0 || strcmp(name, "depth") == 0;
    return form && !app_image_takes(l->v->output, name);
}

/* One number a STYLE; how many there are the user has said. */
static int like_weights(const likeness *l, json_t *value) {
    size_t n = json_array_size(value), styles = l->v->common.n_operands - 1;
    if (n == 0 || n == styles) return 0;
    app_error("%s: painted with %zu weighted STYLEs: expected as many, or "
              "--style-weights, found %zu",
        l->from, n, styles);
    return APP_USAGE;
}

static int like_one(const likeness *l, const char *key, json_t *value) {
    char where[512];
    const app_option *o = app_settings_find(l->command, key);
    if (!o) {
        app_note("%s: the setting %s is unknown here: not used", l->from, key);
        return 0;
    }
    if (overruled(l, o->name) || out_of_form(l, o->name)) return 0;
    const char *word = json_is_string(value) ? json_string_value(value) : "";
    if (strcmp(o->name, "preset") == 0) return like_preset(l, word);
    if (strcmp(o->name, "init") == 0) return like_init(l, word);
    if (json_is_array(value) && json_array_size(value) == 0) return 0;
    int status = strcmp(o->name, "style-weights") == 0 ? like_weights(l, value) : 0;
    if (status) return status;
    char *text = typed(value);
    snprintf(where, sizeof where, "%s: setting ", l->from);
    bool good = app_give(l->command, l->v, o, text ? text : "", where);
    free(text);
    return good ? 0 : IMP_ERR_DATA;
}

static int like_settings(
    const app_command *command, app_stylize_values *v, json_t *settings) {
    int status = 0;
    const char *key;
    json_t *value;
    likeness l = {command, v, v->common, v->like};
    json_object_foreach(settings, key, value) {
        if (!status) status = like_one(&l, key, value);
    }
    return status;
}

/* --- the record --- */

/* The file's model where the user named none: an installed one, never a file. */
static int like_model(app_stylize_values *v, const json_t *record, char *model) {
    char name[APP_MODEL_NAME];
    const char *variable = getenv("IMPASTO_MODEL");
    const char *recorded = json_string_value(json_object_get(record, "model"));
    if (!recorded || !*recorded || strlen(recorded) >= APP_MODEL_NAME) return 0;
    const char *ours = v->model ? v->model : variable;
    app_model_short_name(ours ? ours : "", name, sizeof name);
    if (ours && *ours && strcmp(name, recorded) == 0) return 0;
    if (v->model) {
        app_note("%s: painted with the model %s, not with %s", v->like, recorded, name);
        return 0;
    }
    v->model = strcpy(model, recorded);
    if (app_model_is_name(model)) return 0;
    app_error("%s: painted with the model %s, which is not installed: expected --model "
              "FILE|NAME",
        v->like, recorded);
    return IMP_ERR_MODEL;
}

/* Masks are files, which only the user can name. */
static int like_masks(const app_stylize_values *v, const json_t *record) {
    const struct {
        const char *key, *option;
        size_t given;
    } masks[] = {{"content_masks", "content-mask", v->content_mask.n},
        {"style_masks", "style-mask", v->style_mask.n}};
    for (size_t i = 0; i < 2; i++) {
        if (!json_object_get(record, masks[i].key) || masks[i].given) continue;
        app_error("%s: it was painted with masks: expected --%s FILE,...", v->like,
            masks[i].option);
        return APP_USAGE;
    }
    return 0;
}

int app_like(
    const app_command *command, app_stylize_values *v, char model[APP_MODEL_NAME]) {
    char *text;
    if (v->preset) {
        app_error("--preset: expected without --like, which sets everything");
        return APP_USAGE;
    }
    int status = app_image_read_text(v->like, &text);
    if (status) return status;
    json_t *record = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    json_t *settings = json_object_get(record, "settings");
    free(text);
    if (json_is_object(settings)) {
        status = like_settings(command, v, settings);
        if (!status) status = like_masks(v, record);
        if (!status) status = like_model(v, record, model);
    } else {
        app_error("%s: its settings: expected a JSON object, found none", v->like);
        status = IMP_ERR_DATA;
    }
    json_decref(record);
    return status;
}
