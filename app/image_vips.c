/* SPDX-License-Identifier: MIT
 *
 * image_vips.c: decode, orientation, ICC, alpha, encode.
 *
 * A file is not believed: only four decoders of libvips are let in (its own list of
 * untrusted ones is too short: it reads matrices from text files), a damaged file fails
 * instead of being filled with grey, and the size is checked before a pixel is decoded.
 */
#include "image_vips.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vips/vips.h>

#include "options.h"
#include "report.h"

/* --- libvips --- */

static void drop_message(
    const char *domain, GLogLevelFlags level, const char *message, void *user) {
    (void)domain, (void)level, (void)message, (void)user;
}

static int start(void) {
    static bool started;
    if (started) return 0;
    if (vips_init("impasto")) {
        app_error("libvips does not start: %s", vips_error_buffer());
        vips_error_clear();
        return IMP_ERR_INTERNAL;
    }
    started = true;
    g_log_set_handler("VIPS", G_LOG_LEVEL_MASK, drop_message, NULL);
    vips_cache_set_max(0);
    vips_concurrency_set(1);
    vips_operation_block_set("VipsForeignLoad", TRUE);
    vips_operation_block_set("VipsForeignLoadJpeg", FALSE);
    vips_operation_block_set("VipsForeignLoadPng", FALSE);
    vips_operation_block_set("VipsForeignLoadWebp", FALSE);
    vips_operation_block_set("VipsForeignLoadTiff", FALSE);
    return 0;
}

/* What libvips says, in one line, each line of it once. */
static int fail(const char *path, int status) {
    char text[1024] = "";
    char *copy = g_strdup(vips_error_buffer()), *rest = copy;
    vips_error_clear();
    for (char *line; (line = strsep(&rest, "\n")) != NULL;) {
        g_strstrip(line);
        if (!*line || strstr(text, line)) continue;
        if (strlen(text) + strlen(line) + 3 > sizeof text) break;
        if (*text) strcat(text, "; ");
        strcat(text, line);
    }
    g_free(copy);
    app_error("%s: %s", path, *text ? text : "libvips failed");
    bool memory = strstr(text, "out of memory") || strstr(text, "creating thread");
    return memory ? IMP_ERR_LIMIT : status;
}

/* --- reading --- */

/* As a message names it. */
static const char *label(const char *path) {
    return strcmp(path, APP_STANDARD) == 0 ? "standard input" : path;
}

enum { INPUT_MOST = 1 << 30 }; /* bytes of standard input */

/* Standard input, copied to a file of memory: what reads it may go back. -1: errno. */
static int open_input(void) {
    unsigned char block[1 << 14];
    int fd = memfd_create("impasto", MFD_CLOEXEC);
    ssize_t n = 1;
    for (size_t all = 0; fd >= 0 && n > 0; all += (size_t)n) {
        do n = read(STDIN_FILENO, block, sizeof block);
        while (n < 0 && errno == EINTR);
        if (n <= 0) break;
        errno = EFBIG; /* where less is written */
        if (all > INPUT_MOST || write(fd, block, (size_t)n) != n) n = -1;
    }
    if (fd < 0 || n == 0) return fd;
    int why = errno;
    close(fd);
    errno = why;
    return -1;
}

static int open_file(const char *path, int *fd) {
    struct stat info;
    const char *why = NULL;
    if (strcmp(path, APP_STANDARD) == 0)
        *fd = open_input();
    else /* a pipe shall not hang us */
        *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (*fd < 0 || fstat(*fd, &info) != 0)
        why = strerror(errno);
    else if (S_ISDIR(info.st_mode))
        why = "expected a picture, found a folder";
    else if (!S_ISREG(info.st_mode))
        why = "expected a picture, found no regular file";
    else if (info.st_size == 0)
        why = "expected a picture, found an empty file";
    if (!why) return 0;
    app_error("%s: %s", label(path), why);
    if (*fd >= 0) close(*fd);
    return IMP_ERR_DATA;
}

int app_image_check_limits(const char *name, size_t width, size_t height) {
    bool large = width > APP_MAX_SIDE || height > APP_MAX_SIDE;
    if (!large && width * height <= APP_MAX_PIXELS) return 0;
    app_error(
        "%s: size: expected at most %d a side and %d million pixels, found %zu x %zu",
        name, APP_MAX_SIDE, APP_MAX_PIXELS / 1000000, width, height);
    return IMP_ERR_LIMIT;
}

static uint64_t big_endian(const unsigned char *p) {
    return (uint64_t)p[0] << 24 | (uint64_t)p[1] << 16 | (uint64_t)p[2] << 8 | p[3];
}

/* A PNG's decoder reads on to the first row before it tells the size: look ourselves.
 */
static int check_png_size(const char *path, int fd) {
    static const char signature[] = "\x89PNG\r\n\x1a\n";
    unsigned char head[24];
    if (pread(fd, head, sizeof head, 0) != (ssize_t)sizeof head) return 0;
    if (memcmp(head, signature, 8) != 0 || memcmp(head + 12, "IHDR", 4) != 0) return 0;
    return app_image_check_limits(path, big_endian(head + 16), big_endian(head + 20));
}

/* The header read, nothing decoded; with the source, which must outlive the picture. */
static int open_picture(
    const char *path, int fd, VipsSource **source, VipsImage **lazy) {
    *lazy = NULL;
    *source = NULL;
    int status = check_png_size(path, fd);
    if (status) return status;
    if (lseek(fd, 0, SEEK_SET) == 0) *source = vips_source_new_from_descriptor(fd);
    if (*source)
        *lazy = vips_image_new_from_source(*source, "", "access",
            VIPS_ACCESS_SEQUENTIAL, "fail_on", VIPS_FAIL_ON_ERROR, NULL);
    if (*lazy)
        return app_image_check_limits(
            path, (size_t)(*lazy)->Xsize, (size_t)(*lazy)->Ysize);
    const char *said = vips_error_buffer();
    if (!strstr(said, "a known") && !strstr(said, "operation is blocked"))
        return fail(path, IMP_ERR_DATA);
    vips_error_clear();
    app_error("%s: expected JPEG, PNG, WebP or TIFF, found none of them", path);
    return IMP_ERR_DATA;
}

/* The first page, decoded into memory. */
static int decode(const char *path, int fd, VipsImage **out) {
    VipsSource *source;
    VipsImage *lazy;
    int status = open_picture(path, fd, &source, &lazy);
    if (!status && !(*out = vips_image_copy_memory(lazy)))
        status = fail(path, IMP_ERR_DATA);
    g_clear_object(&lazy);
    g_clear_object(&source);
    return status;
}

/* --- colours: each step replaces *image --- */

static void replace(VipsImage **image, VipsImage *by) {
    g_object_unref(*image);
    *image = by;
}

static void add_note(char *notes, size_t size, const char *note) {
    if (strlen(notes) + strlen(note) + 3 > size) return;
    if (*notes) strcat(notes, "; ");
    strcat(notes, note);
}

static bool has_profile(VipsImage *image) {
    return vips_image_get_typeof(image, VIPS_META_ICC_NAME) != 0;
}

static int to_srgb(VipsImage *image, VipsImage **out, int depth) {
    return vips_icc_transform(image, out, "srgb", "embedded", TRUE, "depth", depth,
        "black_point_compensation", TRUE, NULL);
}

/* Does the image's profile say what sRGB says? It does where it moves no colour of a
 * coarse grid by more than 1 of 255; the picture's own integers are then the better
 * ones. */
static bool profile_is_srgb(VipsImage *image) {
    enum { STEPS = 16, SIDE = STEPS + 1 };
    unsigned char grid[SIDE * SIDE * SIDE * 3];
    int bands = image->Bands, count = bands == 1 ? SIDE : SIDE * SIDE * SIDE;
    if (bands != 1 && bands != 3) return false;
    for (int i = 0; i < count; i++)
        for (int c = 0, rest = i; c < bands; c++, rest /= SIDE)
            grid[i * bands + c] = (unsigned char)(rest % SIDE * 255 / STEPS);
    VipsImage *probe = vips_image_new_from_memory_copy(
        grid, (size_t)(count * bands), count, 1, bands, VIPS_FORMAT_UCHAR);
    const void *profile;
    size_t size, bytes;
    if (!probe || vips_image_get_blob(image, VIPS_META_ICC_NAME, &profile, &size))
        return false;
    vips_image_set_blob_copy(probe, VIPS_META_ICC_NAME, profile, size);
    probe->Type = bands == 1 ? VIPS_INTERPRETATION_B_W : VIPS_INTERPRETATION_sRGB;
    VipsImage *moved = NULL;
    unsigned char *to = NULL;
    if (!to_srgb(probe, &moved, 8)) to = vips_image_write_to_memory(moved, &bytes);
    bool same = to && moved->Bands == 3;
    for (int i = 0; same && i < count * 3; i++)
        same = abs(to[i] - grid[bands == 1 ? i / 3 : i]) <= 1;
    g_free(to);
    g_clear_object(&moved);
    g_object_unref(probe);
    vips_error_clear();
    return same;
}

/* By the embedded profile, where there is one that changes something. True: done. */
static bool by_profile(VipsImage **image, char *notes, size_t size) {
    if (!has_profile(*image) || profile_is_srgb(*image)) return false;
    VipsImage *out = NULL;
    if (to_srgb(*image, &out, 16)) {
        vips_error_clear();
        add_note(notes, size, "its colour profile cannot be used");
        return false;
    }
    replace(image, out);
    add_note(notes, size, "colours to sRGB by its ICC profile");
    return true;
}

/* Colour bands, no alpha: to 1 or 3 bands of 8 or 16 bits. */
static int to_rgb(const char *path, VipsImage **image, char *notes, size_t size) {
    VipsInterpretation kind = vips_image_guess_interpretation(*image);
    bool cmyk = kind == VIPS_INTERPRETATION_CMYK;
    VipsBandFormat format = (*image)->BandFmt;
    if (cmyk) add_note(notes, size, "CMYK");
    if (format == VIPS_FORMAT_USHORT) add_note(notes, size, "16 bits a channel kept");
    if (!by_profile(image, notes, size)) {
        bool lab = kind == VIPS_INTERPRETATION_LAB || kind == VIPS_INTERPRETATION_LABS;
        VipsImage *out = NULL;
        if (cmyk || lab || kind == VIPS_INTERPRETATION_scRGB) {
            if (vips_colourspace(*image, &out, VIPS_INTERPRETATION_RGB16, NULL))
                return fail(path, IMP_ERR_DATA);
            replace(image, out);
            if (!cmyk) add_note(notes, size, lab ? "Lab" : "linear light");
            add_note(notes, size, "colours to sRGB");
        }
    }
    format = (*image)->BandFmt;
    if (format != VIPS_FORMAT_UCHAR && format != VIPS_FORMAT_USHORT) {
        app_error("%s: samples: expected 8 or 16 bits, found %s", path,
            vips_enum_nick(VIPS_TYPE_BAND_FORMAT, format));
        return IMP_ERR_DATA;
    }
    if ((*image)->Bands != 1 && (*image)->Bands != 3) {
        app_error("%s: channels: expected grey, RGB or CMYK, found %d channels", path,
            (*image)->Bands);
        return IMP_ERR_DATA;
    }
    if ((*image)->Bands == 1)
        add_note(notes, size, "grey, the same in all three channels");
    return 0;
}

/* Turn by the EXIF orientation, and take the alpha channel off; *alpha NULL: none. */
static int turn_and_split(
    const char *path, VipsImage **image, VipsImage **alpha, char *notes, size_t size) {
    VipsImage *out = NULL;
    if (vips_image_get_orientation(*image) > 1) {
        if (vips_autorot(*image, &out, NULL)) return fail(path, IMP_ERR_DATA);
        replace(image, out);
        add_note(notes, size, "turned by its EXIF orientation");
    }
    if (!vips_image_hasalpha(*image)) return 0;
    int bands = (*image)->Bands;
    if (vips_extract_band(*image, alpha, bands - 1, NULL))
        return fail(path, IMP_ERR_DATA);
    if (vips_extract_band(*image, &out, 0, "n", bands - 1, NULL))
        return fail(path, IMP_ERR_DATA);
    replace(image, out);
    return 0;
}

/* --- to planes --- */

/* Sample i as 0..255: an 8-bit one exactly, a 16-bit one divided by 257. */
static float sample(const void *data, VipsBandFormat format, size_t i) {
    if (format == VIPS_FORMAT_UCHAR) return (float)((const unsigned char *)data)[i];
    return (float)((const unsigned short *)data)[i] / 257.0f;
}

static int fill_planes(const char *path, imp_picture *out, VipsImage *image) {
    size_t bytes, count = out->width * out->height;
    void *data = vips_image_write_to_memory(image, &bytes);
    if (!data) return fail(path, IMP_ERR_LIMIT);
    size_t bands = (size_t)image->Bands;
    for (size_t c = 0; c < 3; c++)
        for (size_t i = 0; i < count; i++)
            out->planes[c * count + i] =
                sample(data, image->BandFmt, i * bands + (bands == 3 ? c : 0));
    g_free(data);
    return 0;
}

/* v <- a v + (1 - a) 255; where a is 1 the integers stay as they are. */
static int lay_on_white(
    const char *path, imp_picture *out, VipsImage *alpha, char *notes, size_t size) {
    size_t bytes, count = out->width * out->height;
    VipsBandFormat format = alpha->BandFmt;
    if (format != VIPS_FORMAT_UCHAR && format != VIPS_FORMAT_USHORT) return 0;
    void *data = vips_image_write_to_memory(alpha, &bytes);
    if (!data) return fail(path, IMP_ERR_LIMIT);
    bool any = false;
    for (size_t i = 0; i < count; i++) {
        float a = sample(data, format, i) / 255.0f;
        if (a >= 1) continue;
        any = true;
        for (size_t c = 0; c < 3; c++) {
            float *v = &out->planes[c * count + i];
            *v = a * *v + (1 - a) * 255.0f;
        }
    }
    g_free(data);
    if (any) add_note(notes, size, "transparency laid on white");
    return 0;
}

static int to_picture(
    imp_ctx *ctx, imp_picture *out, const char *path, VipsImage **image) {
    char notes[512] = "", pages[64];
    VipsImage *alpha = NULL;
    int n_pages = vips_image_get_n_pages(*image);
    if (n_pages > 1) {
        g_snprintf(pages, sizeof pages, "page 1 of %d", n_pages);
        add_note(notes, sizeof notes, pages);
    }
    int status = turn_and_split(path, image, &alpha, notes, sizeof notes);
    if (!status) status = to_rgb(path, image, notes, sizeof notes);
    if (!status) {
        imp_status made =
            imp_picture_new(ctx, out, (size_t)(*image)->Xsize, (size_t)(*image)->Ysize);
        if (made != IMP_OK) status = app_fail(ctx, made);
    }
    if (!status) status = fill_planes(path, out, *image);
    if (!status && alpha) status = lay_on_white(path, out, alpha, notes, sizeof notes);
    if (!status && *notes) app_note("%s: %s", path, notes);
    g_clear_object(&alpha);
    return status;
}

static void copy_sum(char out[65], GChecksum *sum) {
    g_strlcpy(out, g_checksum_get_string(sum), 65);
    g_checksum_free(sum);
}

static int hash_file(const char *path, int fd, char out[65]) {
    unsigned char block[1 << 14];
    GChecksum *sum = g_checksum_new(G_CHECKSUM_SHA256);
    ssize_t n;
    for (off_t at = 0; (n = pread(fd, block, sizeof block, at)) > 0; at += n)
        g_checksum_update(sum, block, n);
    copy_sum(out, sum);
    if (n == 0) return 0;
    app_error("%s: %s", path, strerror(errno));
    return IMP_ERR_DATA;
}

int app_image_load(imp_ctx *ctx, imp_picture *out, const char *path, char sha256[65]) {
    int fd, status = start();
    VipsImage *image = NULL;
    *out = (imp_picture){.planes = NULL};
    if (!status) status = open_file(path, &fd);
    if (status) return status;
    path = label(path);
    if (sha256) status = hash_file(path, fd, sha256);
    if (!status) status = decode(path, fd, &image);
    close(fd);
    if (!status) status = to_picture(ctx, out, path, &image);
    g_clear_object(&image);
    if (status) imp_picture_free(out);
    return status;
}

/* --- the text that a picture keeps: a comment of PNG, XMP of the others --- */

#define COMMENT       "png-comment-0-impasto"
#define XMP_NAMESPACE "urn:impasto:1"
#define XMP_NAME      "impasto:settings"

/* To be freed with g_free. */
static char *make_xmp(const char *text) {
    return g_markup_printf_escaped(
        "<?xpacket begin=\"\xef\xbb\xbf\" id=\"W5M0MpCehiHzreSzNTczkc9d\"?>"
        "<x:xmpmeta xmlns:x=\"adobe:ns:meta/\">"
        "<rdf:RDF xmlns:rdf=\"http://www.w3.org/1999/02/22-rdf-syntax-ns#\">"
        "<rdf:Description rdf:about=\"\" xmlns:impasto=\"" XMP_NAMESPACE "\" " XMP_NAME
        "=\"%s\"/></rdf:RDF></x:xmpmeta><?xpacket end=\"w\"?>",
        text);
}

static void keep_text(VipsImage *image, const char *text, bool png) {
    if (png) {
        vips_image_set_string(image, COMMENT, text);
        return;
    }
    char *xmp = make_xmp(text);
    vips_image_set_blob_copy(image, VIPS_META_XMP_NAME, xmp, strlen(xmp));
    g_free(xmp);
}

static void find_in_xmp(GMarkupParseContext *context, const gchar *element,
    const gchar **names, const gchar **values, gpointer user, GError **error) {
    char **found = user;
    (void)context, (void)element, (void)error;
    for (size_t i = 0; names[i]; i++)
        if (strcmp(names[i], XMP_NAME) == 0 && !*found) *found = strdup(values[i]);
}

static char *text_of_xmp(VipsImage *image) {
    static const GMarkupParser parser = {.start_element = find_in_xmp};
    const void *xmp;
    size_t size;
    char *found = NULL;
    if (!vips_image_get_typeof(image, VIPS_META_XMP_NAME)) return NULL;
    if (vips_image_get_blob(image, VIPS_META_XMP_NAME, &xmp, &size)) return NULL;
    const char *from = memchr(xmp, '<', size); /* libvips may leave a prefix */
    if (!from) return NULL;
    size -= (size_t)(from - (const char *)xmp);
    GMarkupParseContext *context = g_markup_parse_context_new(&parser, 0, &found, NULL);
    g_markup_parse_context_parse(context, from, (gssize)size, NULL);
    g_markup_parse_context_free(context);
    return found;
}

/* A PNG comment of our keyword, whatever its number. */
static void *find_comment(
    VipsImage *image, const char *name, GValue *value, void *out) {
    const char *text;
    (void)value;
    if (!g_str_has_prefix(name, "png-comment-") || !g_str_has_suffix(name, "-impasto"))
        return NULL;
    if (vips_image_get_string(image, name, &text)) return NULL;
    *(char **)out = strdup(text);
    return image; /* ends the search */
}

int app_image_read_text(const char *path, char **out) {
    int fd, status = start();
    VipsSource *source;
    VipsImage *lazy;
    *out = NULL;
    if (!status) status = open_file(path, &fd);
    if (status) return status;
    path = label(path);
    status = open_picture(path, fd, &source, &lazy);
    if (!status) vips_image_map(lazy, find_comment, out);
    if (!status && !*out) *out = text_of_xmp(lazy);
    vips_error_clear();
    g_clear_object(&lazy);
    g_clear_object(&source);
    close(fd);
    if (status || *out) return status;
    app_error(
        "%s: expected a picture with settings of impasto in it, found none", path);
    return IMP_ERR_DATA;
}

/* --- writing --- */

typedef struct format {
    const char *ending, *saver, *settings; /* of libvips */
    bool quality, deep;                    /* takes Q, takes 16 bits */
    size_t most;                           /* pixels a side */
} format;

static const format formats[] = {
    {".png", ".png", "compression=6", false, true, APP_MAX_SIDE},
    {".jpg", ".jpg", "subsample_mode=off,optimize_coding", true, false, APP_MAX_SIDE},
    {".jpeg", ".jpg", "subsample_mode=off,optimize_coding", true, false, APP_MAX_SIDE},
    {".webp", ".webp", "smart_subsample", true, false, 16383},
    {".tif", ".tif", "compression=deflate", false, true, APP_MAX_SIDE},
    {".tiff", ".tif", "compression=deflate", false, true, APP_MAX_SIDE},
};

/* By the name's ending; NULL: none of ours. */
static const format *format_of(const char *path) {
    if (strcmp(path, APP_STANDARD) == 0) return &formats[0];
    const char *dot = strrchr(path, '.');
    if (!dot || dot == path || dot[-1] == '/') return NULL;
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (strcasecmp(dot, formats[i].ending) == 0) return &formats[i];
    return NULL;
}

bool app_image_is_name(const char *name) {
    return format_of(name) && strcmp(name, APP_STANDARD) != 0;
}

bool app_image_takes(const char *path, const char *option) {
    const format *f = path ? format_of(path) : NULL;
    if (!path) return true;
    if (!f) f = &formats[0];
    return strcmp(option, "quality") == 0 ? f->quality : f->deep;
}

int app_image_check_name(const char *path, const app_image_how *how) {
    const format *f = format_of(path);
    if (!f)
        app_error(
            "%s: name: expected one that ends in .png, .jpg, .jpeg, .webp, .tif or "
            ".tiff",
            path);
    else if (how->quality != APP_ABSENT && !f->quality)
        app_error("--quality: expected with .jpg and .webp alone, found with %s", path);
    else if (how->depth == 16 && !f->deep)
        app_error(
            "--depth: expected 8, or 16 with .png and .tif, found 16 with %s", path);
    else
        return 0;
    return APP_USAGE;
}

int app_image_check_size(const char *path, size_t width, size_t height) {
    size_t most = format_of(path)->most;
    if (width <= most && height <= most)
        return app_image_check_limits(path, width, height);
    app_error("%s: size: expected at most %zu a side, found %zu x %zu", path, most,
        width, height);
    return IMP_ERR_LIMIT;
}

/* Planes to samples of 8 or 16 bits, a pixel's three side by side. NULL: no memory. */
static void *interleave(const imp_picture *p, bool deep) {
    size_t count = p->width * p->height;
    void *samples = malloc(3 * count * (deep ? 2 : 1));
    unsigned char *bytes = samples;
    unsigned short *words = samples;
    for (size_t c = 0; samples && c < 3; c++)
        for (size_t i = 0; i < count; i++) {
            float v = fminf(fmaxf(p->planes[c * count + i], 0), 255);
            if (deep)
                words[3 * i + c] = (unsigned short)lrintf(257 * v);
            else
                bytes[3 * i + c] = (unsigned char)lrintf(v);
        }
    return samples;
}

/* sRGB in so many words, so that nobody need guess; without it readers take sRGB. */
static void tag_srgb(VipsImage *image) {
    VipsBlob *blob;
    if (vips_profile_load("srgb", &blob, NULL)) {
        vips_error_clear();
        return;
    }
    size_t size;
    const void *data = vips_blob_get(blob, &size);
    vips_image_set_blob_copy(image, VIPS_META_ICC_NAME, data, size);
    vips_area_unref(VIPS_AREA(blob));
}

/* The bytes of the file: *file, to be freed with g_free. Returns the exit status, said. */
static int encode(const imp_picture *picture, const char *path,
    const app_image_how *how, void **file, size_t *size) {
    const format *f = format_of(path);
    bool deep = how->depth == 16;
    int status = start();
    if (status) return status;
    size_t bytes = 3 * picture->width * picture->height * (deep ? 2 : 1);
    void *samples = interleave(picture, deep);
    if (!samples) {
        app_error("%s: no memory for %zu bytes", path, bytes);
        return IMP_ERR_LIMIT;
    }
    char saver[128], quality[32] = "";
    size_t q = how->quality == APP_ABSENT ? 95 : how->quality;
    if (f->quality) g_snprintf(quality, sizeof quality, "Q=%zu,", q);
    g_snprintf(saver, sizeof saver, "%s[%s%s]", f->saver, quality, f->settings);
    VipsImage *image = vips_image_new_from_memory(samples, bytes, (int)picture->width,
        (int)picture->height, 3, deep ? VIPS_FORMAT_USHORT : VIPS_FORMAT_UCHAR);
    if (image) {
        image->Type = deep ? VIPS_INTERPRETATION_RGB16 : VIPS_INTERPRETATION_sRGB;
        tag_srgb(image);
        if (how->text) keep_text(image, how->text, strcmp(f->saver, ".png") == 0);
    }
    if (!image || vips_image_write_to_buffer(image, saver, file, size, NULL))
        status = fail(path, IMP_ERR_FILE);
    g_clear_object(&image);
    free(samples);
    return status;
}

int app_image_save(imp_ctx *ctx, const imp_picture *picture, const char *path,
    bool overwrite, const app_image_how *how) {
    void *file = NULL;
    size_t size = 0;
    int status = encode(picture, path, how, &file, &size);
    if (status) return status;
    imp_status written = imp_write_file(ctx, path, file, size, overwrite);
    g_free(file);
    return written == IMP_OK ? 0 : app_fail(ctx, written);
}

int app_image_send(const imp_picture *picture, int fd, const app_image_how *how) {
    void *file = NULL;
    size_t size = 0, sent = 0;
    int status = encode(picture, APP_STANDARD, how, &file, &size);
    while (!status && sent < size) {
        ssize_t n = write(fd, (const char *)file + sent, size - sent);
        if (n > 0) {
            sent += (size_t)n;
        } else if (errno != EINTR) {
            app_error("standard output: %s", strerror(errno));
            status = IMP_ERR_FILE;
        }
    }
    g_free(file);
    return status;
}

/* --- SHA-256 --- */

void app_image_sha256(const imp_picture *picture, char out[65]) {
    GChecksum *sum = g_checksum_new(G_CHECKSUM_SHA256);
    size_t count = 3 * picture->width * picture->height;
    guint32 block[1024];
    for (size_t i = 0; i < count; i += 1024) {
        size_t n = count - i < 1024 ? count - i : 1024;
        memcpy(block, picture->planes + i, n * sizeof *block);
        for (size_t k = 0; k < n; k++) block[k] = GUINT32_TO_LE(block[k]);
        g_checksum_update(sum, (const guchar *)block, (gssize)(n * sizeof *block));
    }
    copy_sum(out, sum);
}
