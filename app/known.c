/* SPDX-License-Identifier: MIT
 *
 * known.c: the table of known models. Sizes and checksums are what the makers publish or
 * several independent users of the file agree on; nothing else is written here.
 */
#include "known.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "impasto/impasto.h"
#include "options.h"
#include "report.h"

#define KERAS "https://storage.googleapis.com/tensorflow/keras-applications/vgg19/"
#define KERAS_GITHUB                                                                   \
    "https://github.com/fchollet/deep-learning-models/releases/download/v0.1/"
#define TORCH "https://download.pytorch.org/models/"

#define OXFORD      "CC BY 4.0 (Simonyan and Zisserman, University of Oxford)"
#define TORCHVISION "BSD-3-Clause (torchvision)"

static const app_known table[] = {
    {.name = "vgg19",
        .what = "VGG-19 without its classifier: Oxford's weights, from Keras",
        .licence = OXFORD,
        .size = 80134624,
        .kind = APP_MD5,
        .digest = "253f8cb515780f3b799900260a226db6",
        .urls = {KERAS "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5",
            KERAS_GITHUB "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5"}},
    {.name = "vgg19-classifier",
        .what = "VGG-19 with its classifier: Oxford's weights, from Keras",
        .licence = OXFORD,
        .size = 574710816,
        .kind = APP_MD5,
        .digest = "cbe5617147190e668d6c5d5026f83318",
        .urls = {KERAS "vgg19_weights_tf_dim_ordering_tf_kernels.h5",
            KERAS_GITHUB "vgg19_weights_tf_dim_ordering_tf_kernels.h5"}},
    {.name = "vgg19-matconvnet",
        .what = "VGG-19 with its classifier: Oxford's weights, from MatConvNet",
        .licence = OXFORD,
        .size = 534904783,
        .kind = APP_SHA256,
        .digest = "abdb57167f82a2a1fbab1e1c16ad9373411883f262a1a37ee5db2e6fb0044695",
        .urls =
            {"https://www.vlfeat.org/matconvnet/models/imagenet-vgg-verydeep-19.mat"}},
    {.name = "vgg19-caffe",
        .what = "VGG-19 with its classifier: Oxford's weights, as first published",
        .licence = OXFORD "; the text beside the file says CC BY-NC 4.0",
        .size = 574671192,
        .kind = APP_MD5,
        .digest = "b5c644beabd7cf06bdd9065cfd674c97",
        .urls = {"https://www.robots.ox.ac.uk/~vgg/software/very_deep/caffe/"
                 "VGG_ILSVRC_19_layers.caffemodel"}},
    {.name = "vgg19-imagenet",
        .what = "VGG-19 with its classifier, trained anew by torchvision",
        .licence = TORCHVISION,
        .size = 574673361,
        .kind = APP_SHA256,
        .digest = "dcbb9e9dad569fff7a846263a77324fc34978fea2bfb039c012d710e1776ae44",
        .urls = {TORCH "vgg19-dcbb9e9d.pth"}},
    {.name = "vgg16-imagenet",
        .what = "VGG-16 with its classifier, trained anew by torchvision",
        .licence = TORCHVISION,
        .size = 553433881,
        .kind = APP_SHA256,
        .digest = "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
        .urls = {TORCH "vgg16-397923af.pth"}},
};

bool app_known_name(const char *name) {
    size_t n = strlen(name);
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)name[i] < ' ' || name[i] == 0x7f || name[i] == '/')
            return false;
    return n > 0 && n <= 100 && name[0] != '.' && strcmp(name, "builtin") != 0;
}

void app_known_file(const char *url, char *out, size_t size) {
    size_t n = strcspn(url, "?#");
    const char *name = url;
    for (size_t i = 0; i < n; i++)
        if (url[i] == '/') name = url + i + 1;
    snprintf(out, size, "%.*s", (int)(url + n - name), name);
}

/* --- IMPASTO_KNOWN --- */

enum { TEXT = 1 << 16 }; /* bytes of that file at most */

static int bad_line(
    const char *path, size_t line, const char *expected, const char *found) {
    app_error("%s: line %zu: expected %s, found %s", path, line, expected,
        *found ? found : "nothing");
    return IMP_ERR_DATA;
}

static bool read_size(const char *text, uint64_t *size) {
    char *end;
    errno = 0;
    unsigned long long n = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end || errno || n == 0 || n > INT64_MAX)
        return false;
    *size = n;
    return true;
}

static bool read_digest(const char *text, app_known *m) {
    size_t n = strspn(text, "0123456789abcdef");
    if (text[n] || (n != 32 && n != 64)) return false;
    m->digest = text;
    m->kind = n == 32 ? APP_MD5 : APP_SHA256;
    return true;
}

static int read_line(app_known *m, char *line, const char *path, size_t number) {
    char *field[4 + APP_MIRRORS] = {0}, *rest = line;
    size_t n = 0;
    while (rest && n < 4 + APP_MIRRORS) field[n++] = strsep(&rest, "\t");
    if (n < 5 || rest)
        return bad_line(path, number,
            "name, size, checksum, licence and one to four URLs, cut by tabs",
            rest ? "more" : "fewer");
    *m = (app_known){
        .name = field[0], .what = "named in IMPASTO_KNOWN", .licence = field[3]};
    if (!app_known_name(m->name))
        return bad_line(path, number, "a name without slash and dot in front", m->name);
    if (!read_size(field[1], &m->size))
        return bad_line(path, number, "a size in bytes", field[1]);
    if (!read_digest(field[2], m))
        return bad_line(path, number,
            "a checksum, SHA-256 or MD5 in small hexadecimal digits", field[2]);
    for (size_t i = 4; i < n; i++) {
        char file[256];
        app_known_file(field[i], file, sizeof file);
        bool web = strncmp(field[i], "http://", 7) == 0 ||
                   strncmp(field[i], "https://", 8) == 0;
        if (!web || !file[0])
            return bad_line(
                path, number, "https://... or http://... of a file", field[i]);
        m->urls[i - 4] = field[i];
    }
    return 0;
}

static int put(app_catalogue *c, const app_known *m, const char *path) {
    for (size_t i = 0; i < c->n; i++)
        if (strcmp(c->models[i].name, m->name) == 0) {
            c->models[i] = *m;
            return 0;
        }
    if (c->n == APP_KNOWN) {
        app_error("%s: expected at most %d models in all, found more", path, APP_KNOWN);
        return IMP_ERR_DATA;
    }
    c->models[c->n++] = *m;
    return 0;
}

/* The file's text, to be freed, or NULL, said. */
static char *read_text(const char *path) {
    struct stat about;
    char *text = malloc(TEXT + 1);
    size_t n = 0;
    ssize_t got = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    bool good = text && fd >= 0 && fstat(fd, &about) == 0;
    while (good && (got = read(fd, text + n, TEXT + 1 - n)) > 0) n += (size_t)got;
    if (!good || got < 0) {
        app_error("%s: cannot read: %s", path, strerror(errno));
    } else if (!S_ISREG(about.st_mode) || n > TEXT || memchr(text, 0, n)) {
        app_error("%s: expected a text of at most %d bytes, found something else", path,
            TEXT);
        good = false;
    }
    if (fd >= 0) close(fd);
    if (good && got == 0) {
        text[n] = 0;
        return text;
    }
    free(text);
    return NULL;
}

int app_catalogue_read(app_catalogue *c) {
    c->n = sizeof table / sizeof *table;
    c->text = NULL;
    memcpy(c->models, table, sizeof table);
    const char *path = getenv("IMPASTO_KNOWN");
    if (!path || !path[0]) return 0;
    c->text = read_text(path);
    if (!c->text) return IMP_ERR_DATA;
    char *rest = c->text;
    int status = 0;
    for (size_t number = 1; rest && !status; number++) {
        char *line = strsep(&rest, "\n");
        app_known m;
        size_t n = strlen(line);
        if (n && line[n - 1] == '\r') line[n - 1] = 0;
        if (!*line || *line == '#') continue;
        status = read_line(&m, line, path, number);
        if (!status) status = put(c, &m, path);
    }
    return status;
}

void app_catalogue_free(app_catalogue *c) {
    free(c->text);
    c->text = NULL;
}

const app_known *app_catalogue_find(const app_catalogue *c, const char *name) {
    for (size_t i = 0; i < c->n; i++)
        if (strcmp(c->models[i].name, name) == 0) return &c->models[i];
    return NULL;
}

const app_known *app_catalogue_of_file(const app_catalogue *c, const char *path) {
    struct stat about;
    char found[APP_DIGEST];
    if (stat(path, &about) != 0) return NULL;
    for (size_t i = 0; i < c->n; i++)
        if (c->models[i].size == (uint64_t)about.st_size && /* most files end here */
            app_digest(path, c->models[i].kind, found) &&
            strcmp(found, c->models[i].digest) == 0)
            return &c->models[i];
    return NULL;
}

int app_catalogue_lacks(const app_catalogue *c, const char *name) {
    const char *nearest = c->models[0].name;
    if (strcmp(name, "builtin") == 0) {
        app_error("model builtin: it comes with impasto, there is nothing to fetch");
        return IMP_ERR_MODEL;
    }
    for (size_t i = 1; i < c->n; i++)
        if (app_distance(name, c->models[i].name) < app_distance(name, nearest))
            nearest = c->models[i].name;
    app_error("model %s: not known; the nearest is %s (see impasto model list; impasto "
              "model convert takes a file of your own)",
        name, nearest);
    return IMP_ERR_MODEL;
}
