/* SPDX-License-Identifier: MIT
 *
 * 04_style.c: paint one picture in the style of another. The library takes and gives
 * planes of numbers; here they come from binary PPM files ("convert a.jpg a.ppm").
 *
 *     04_style CONTENT.ppm STYLE.ppm OUT.ppm [VGG19.safetensors [ITERATIONS]]
 */
#include "impasto/style.h"

#include <stdio.h>
#include <stdlib.h>

static imp_status read_ppm(imp_ctx *ctx, const char *path, imp_picture *p) {
    FILE *f = fopen(path, "rb");
    unsigned w = 0, h = 0;
    bool good =
        f && fscanf(f, "P6 %5u %5u 255", &w, &h) == 2 && w && h && fgetc(f) != EOF;
    imp_status s = good ? imp_picture_new(ctx, p, w, h) : IMP_ERR_DATA;
    for (size_t i = 0, n = (size_t)w * h; i < 3 * n && !s; i++) {
        int v = fgetc(f);
        p->planes[i % 3 * n + i / 3] = (float)v; /* R G B R G B to planes */
        if (v == EOF) s = IMP_ERR_DATA;
    }
    if (s == IMP_ERR_DATA) fprintf(stderr, "%s: not a binary PPM of 8 bits\n", path);
    if (f) fclose(f);
    return s;
}

static imp_status write_ppm(imp_ctx *ctx, const char *path, const imp_picture *p) {
    size_t n = p->width * p->height;
    char *bytes = malloc(3 * n + 64);
    if (!bytes) return IMP_ERR_LIMIT;
    size_t at = (size_t)sprintf(bytes, "P6\n%zu %zu\n255\n", p->width, p->height);
    for (size_t i = 0; i < 3 * n; i++) { /* clamp, round, interleave */
        float v = p->planes[i % 3 * n + i / 3];
        bytes[at + i] = (char)(unsigned char)(v < 0 ? 0 : v > 255 ? 255 : v + 0.5f);
    }
    imp_status s = imp_write_file(ctx, path, bytes, at + 3 * n, true);
    free(bytes);
    return s;
}

static imp_status paint(imp_style *job) {
    imp_style_progress p;
    imp_status s = imp_style_evaluate(job, &p);
    while (!s && imp_style_done(job) < imp_style_total(job)) {
        if (p.iteration % 10 == 0) printf("%3zu  loss %.5f\n", p.iteration, p.loss);
        s = imp_style_step(job, &p);
    }
    if (!s) printf("%3zu  loss %.5f\n", p.iteration, p.loss);
    return s;
}

int main(int argc, char **argv) {
    imp_ctx *ctx = NULL;
    imp_model *model = NULL;
    imp_style *job = NULL;
    imp_picture content = {0}, style = {0}, out = {0};
    imp_style_options o = imp_style_preset("painterly");
    imp_style_source source = {.picture = &style, .weight = 1.0};
    if (argc < 4)
        return fprintf(stderr, "usage: 04_style CONTENT STYLE OUT [MODEL [N]]\n"), 2;
    imp_status s = imp_ctx_new(&ctx, NULL);
    if (!s) s = read_ppm(ctx, argv[1], &content);
    if (!s) s = read_ppm(ctx, argv[2], &style);
    if (!s && argc > 4) s = imp_model_load(ctx, &model, argv[4]);
    if (!s && argc <= 4) s = imp_model_builtin(ctx, &model);
    if (!s) imp_style_suit(&o, model);
    if (argc > 5) o.iterations = (size_t)strtoul(argv[5], NULL, 10);
    if (!s) s = imp_style_new(ctx, &job, model, &content, &source, 1, NULL, &o);
    if (!s) s = paint(job);
    if (!s) s = imp_style_picture(job, &out);
    if (!s) s = write_ppm(ctx, argv[3], &out);
    if (s) fprintf(stderr, "04_style: %s\n", imp_ctx_error(ctx));
    imp_style_free(job), imp_model_free(model);
    imp_picture_free(&content), imp_picture_free(&style), imp_picture_free(&out);
    imp_ctx_free(ctx);
    return (int)s;
}
