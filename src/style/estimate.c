/* SPDX-License-Identifier: MIT
 *
 * estimate.c: what a job will need: bytes, and layers of the model.
 */
#include "model/model.h"
#include "style/style.h"

/* Images that the optimiser holds: of Adam gradient, best, m, v; of L-BFGS its pairs, five
 * vectors and two of the preconditioner. */
static size_t images_held(const imp_style_options *o) {
    if (o->optimizer == IMP_ADAM) return 4;
    return 2 * o->history + 5 + (o->precondition > 1.0 ? 2 : 0);
}

/* Floats of the weights of the layers up to `last`. */
static size_t weights_to(const imp_model *model, const char *last) {
    size_t deepest = imp_zoo_find(model, last), tensor = 0, sum = 0;
    for (size_t i = 0; i <= deepest && i < model->n_layers; i++)
        for (int k = 0; k < 2 && imp_layer_has_weights(&model->layers[i]); k++)
            sum += imp_blocked_count(imp_model_tensor_shape(model, tensor++));
    return sum;
}

/* Pictures beside the image: the caller's, and ours of all scales and of this one. */
static size_t picture_floats(const imp_scene *s, const imp_style_options *o) {
    size_t painted = 3 * s->width * s->height, sum = 2 * imp_scene_floats(s);
    if (o->init == IMP_INIT_PICTURE) sum += painted;
    if (o->colors == IMP_COLORS_LUMINANCE) sum += painted;
    return sum;
}

imp_status imp_style_estimate(imp_ctx *ctx, const imp_model *model, size_t width,
    size_t height, const imp_style_source *sources, size_t n,
    const imp_style_options *options, size_t *bytes) {
    imp_objective_state o = {0};
    imp_style_layers layers;
    imp_scene scene;
    *bytes = 0;
    imp_status s = imp_style_layers_choose(ctx, &layers, model, options);
    if (!s) s = imp_scene_measure(ctx, &scene, width, height, sources, n, options);
    if (!s) s = imp_objective_build(ctx, &o, model, options, &layers, &scene);
    if (!s) {
        size_t images = 1 + images_held(options);
        bool turned = options->turn > 0 && imp_model_describe(model).student;
        size_t floats = weights_to(model, layers.last) * (turned ? 2 : 1) +
                        3 * images * scene.width * scene.height +
                        picture_floats(&scene, options);
        *bytes = imp_objective_bytes(&o) + floats * sizeof(float);
    }
    imp_objective_free(&o);
    return s;
}

imp_status imp_style_load(
    imp_ctx *ctx, imp_model **out, const char *path, const imp_style_options *options) {
    const char *layers[IMP_MAX_TAPS];
    size_t n = 0;
    for (size_t i = 0; i < IMP_STYLE_MAX_LAYERS && options->content_layers[i]; i++)
        layers[n++] = options->content_layers[i];
    for (size_t i = 0; i < IMP_STYLE_MAX_LAYERS && options->style_layers[i]; i++)
        layers[n++] = options->style_layers[i];
    bool nearest = options->terms[IMP_TERM_NEAREST] > 0.0;
    for (size_t i = 0;
         nearest && i < IMP_STYLE_MAX_LAYERS && options->nearest_layers[i]; i++)
        layers[n++] = options->nearest_layers[i];
    return imp_model_load_layers(ctx, out, path, layers, n);
}
