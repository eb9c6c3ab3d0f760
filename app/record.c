/* SPDX-License-Identifier: MIT
 *
 * record.c: {"program":"impasto","version":...,"model":...,"content":{...},...}.
 */
#include "record.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "image_vips.h"
#include "report.h"

static json_t *json_input(const app_input *in) {
    const char *slash = strrchr(in->file, '/');
    json_t *object = json_object();
    json_object_set_new(object, "name", app_json_text(slash ? slash + 1 : in->file));
    if (in->sha256[0]) json_object_set_new(object, "sha256", json_string(in->sha256));
    return object;
}

/* Nothing where no input of the list has a file. */
static void put_list(json_t *object, const char *key, const app_input *in, size_t n) {
    json_t *list = json_array();
    size_t any = 0;
    for (size_t i = 0; i < n; i++) {
        json_array_append_new(list, in[i].file ? json_input(&in[i]) : json_null());
        if (in[i].file) any++;
    }
    if (any)
        json_object_set_new(object, key, list);
    else
        json_decref(list);
}

char *app_record_make(const app_command *command, const app_stylize_values *v,
    const imp_style_options *o, const app_inputs *in, const app_model *model) {
    char name[APP_MODEL_NAME];
    app_model_short_name(model->path, name, sizeof name);
    json_t *object = json_pack("{s:s, s:s, s:o, s:o}", "program", "impasto", "version",
        imp_version(), "model", app_json_text(name), "content",
        json_input(&in->content));
    if (!object) return NULL;
    put_list(object, "styles", in->styles, in->n_styles);
    put_list(object, "content_masks", in->content_masks, in->n_styles);
    put_list(object, "style_masks", in->masks, in->n_styles);
    if (in->start.file) json_object_set_new(object, "init", json_input(&in->start));
    json_object_set_new(object, "settings", app_settings_json(command, v, o));
    char *text =
        json_dumps(object, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(17));
    json_decref(object);
    return text;
}
