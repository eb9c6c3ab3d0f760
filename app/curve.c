/* SPDX-License-Identifier: MIT
 *
 * curve.c: a loss curve as SVG.
 */
#include "curve.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "report.h"

/* In pixels: the picture, and the frame of the curve in it. */
enum { WIDTH = 720, HEIGHT = 440, LEFT = 70, RIGHT = 700, TOP = 40, BOTTOM = 390 };

typedef struct chart {
    FILE *out;
    const imp_features_point *points;
    size_t n, whole_from, steps;
    double low, high; /* log10 of the losses at the bottom and at the top */
} chart;

static double at_x(const chart *c, double step) {
    return LEFT + (RIGHT - LEFT) * step / (double)c->steps;
}

static double at_y(const chart *c, double loss) {
    return BOTTOM - (BOTTOM - TOP) * (log10(loss) - c->low) / (c->high - c->low);
}

static double loss_of(const imp_features_point *p, bool held_out) {
    return fmax((double)(held_out ? p->held_out : p->loss), 1e-12);
}

/* The losses and a twentieth of a decade around them. */
static void find_range(chart *c) {
    c->low = INFINITY;
    c->high = -INFINITY;
    for (size_t i = 0; i < c->n; i++)
        for (int held_out = 0; held_out < 2; held_out++) {
            double l = log10(loss_of(&c->points[i], held_out));
            c->low = fmin(c->low, l - 0.05);
            c->high = fmax(c->high, l + 0.05);
        }
    if (c->n == 0) c->low = -1, c->high = 0;
}

static void put_text(
    const chart *c, double x, double y, const char *anchor, const char *text) {
    fprintf(c->out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">%s</text>\n", x, y,
        anchor, text);
}

static void put_line(
    const chart *c, double x1, double y1, double x2, double y2, const char *look) {
    fprintf(c->out, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" %s/>\n", x1,
        y1, x2, y2, look);
}

/* Lines at 1, 2 and 5 of each decade; quarters of the steps. */
static void put_grid(const chart *c) {
    static const double digits[] = {1, 2, 5};
    char text[32];
    for (int decade = (int)floor(c->low); decade <= (int)c->high; decade++)
        for (int d = 0; d < 3; d++) {
            double loss = digits[d] * pow(10, decade), y = at_y(c, loss);
            if (y < TOP || y > BOTTOM) continue;
            snprintf(text, sizeof text, "%g", loss);
            put_line(c, LEFT, y, RIGHT, y, "stroke=\"#ddd\"");
            put_text(c, LEFT - 8, y + 4, "end", text);
        }
    for (size_t quarter = 0; quarter <= 4; quarter++) {
        size_t step = quarter * c->steps / 4;
        snprintf(text, sizeof text, "%zu", step);
        put_text(c, at_x(c, (double)step), BOTTOM + 20, "middle", text);
    }
    put_text(c, (LEFT + RIGHT) / 2.0, HEIGHT - 8, "middle", "steps");
    put_text(c, LEFT - 8, TOP - 14, "end", "loss");
}

/* One of the two curves, in two pieces: their losses are different sums. */
static void put_curve(const chart *c, bool held_out, const char *color) {
    for (int whole = 0; whole < 2; whole++) {
        fprintf(c->out, "<polyline fill=\"none\" stroke=\"%s\" points=\"", color);
        for (size_t i = 0; i < c->n; i++) {
            const imp_features_point *p = &c->points[i];
            if ((p->step > c->whole_from) != (whole == 1)) continue;
            fprintf(c->out, "%.1f,%.1f ", at_x(c, (double)p->step),
                at_y(c, loss_of(p, held_out)));
        }
        fprintf(c->out, "\"/>\n");
    }
}

static void put_chart(const chart *c) {
    fprintf(c->out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "
        "font-family=\"sans-serif\" font-size=\"12\">\n"
        "<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n",
        WIDTH, HEIGHT);
    put_grid(c);
    if (c->whole_from > 0 && c->whole_from < c->steps) {
        double x = at_x(c, (double)c->whole_from);
        put_line(c, x, TOP, x, BOTTOM, "stroke=\"#888\" stroke-dasharray=\"4\"");
        put_text(c, x + 6, TOP + 14, "start", "end to end");
    }
    put_curve(c, false, "#1f77b4");
    put_curve(c, true, "#d62728");
    fprintf(c->out, "<g fill=\"#1f77b4\">");
    put_text(c, RIGHT - 90, TOP - 14, "end", "learnt");
    fprintf(c->out, "</g><g fill=\"#d62728\">");
    put_text(c, RIGHT, TOP - 14, "end", "held out");
    fprintf(c->out, "</g></svg>\n");
}

int app_curve_write(imp_ctx *ctx, const char *path, bool overwrite,
    const imp_features_point *points, size_t n, size_t whole_from, size_t steps) {
    char *text = NULL;
    size_t size = 0;
    chart c = {open_memstream(&text, &size), points, n, whole_from, steps, 0, 0};
    bool good = c.out != NULL;
    if (good) {
        find_range(&c);
        put_chart(&c);
        good = !ferror(c.out);
        good = fclose(c.out) == 0 && good;
    }
    int status = 0;
    if (!good) {
        app_error("%s: no memory for the curve", path);
        status = IMP_ERR_LIMIT;
    } else {
        imp_status s = imp_write_file(ctx, path, text, size, overwrite);
        if (s != IMP_OK) status = app_fail(ctx, s);
    }
    free(text);
    return status;
}
