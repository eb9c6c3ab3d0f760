/* SPDX-License-Identifier: MIT
 *
 * h5.c: Keras's weights: HDF5 by libhdf5, which reads the mapped file by a driver of ours. Links
 * but hard ones, storage outside the file and filters but a few are refused before libhdf5
 * follows them (CVE-2026-1669).
 */
#include "foreign/foreign.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SIGNATURE "\x89HDF\r\n\x1a\n"
#define DEEPEST   8
#define OBJECTS   10000 /* links at most */

/* The signature is at byte 0, or at 512, 1024, 2048, ... after what a user put before. A
 * MAT-file of level 7.3 is one too, and mat.c's. */
static bool recognise(const uint8_t *data, size_t size) {
    if (size >= 7 && !memcmp(data, "MATLAB ", 7)) return false;
    for (size_t at = 0; imp_in_range(at, 8, size); at = at ? 2 * at : 512)
        if (!memcmp(data + at, SIGNATURE, 8)) return true;
    return false;
}

#ifdef IMP_WITH_HDF5

#define H5_USE_110_API /* H5L_info_t with addresses, also by later libraries */
#include <hdf5.h>

#define SLAB                                                                           \
    ((size_t)32 << 20) /* bytes that are read at once, and of a chunk, at most */
#define PIECE ((size_t)1 << 20)
#define FORGET                                                                         \
    (SLAB / 4) /* pages of the file are not kept longer than for so many bytes */

typedef struct state {
    hid_t file;
    size_t objects;
    haddr_t sets[IMP_FOREIGN_COUNT]; /* of the tensors */
} state;

/* --- what libhdf5 says --- */

static herr_t keep_innermost(unsigned n, const H5E_error2_t *error, void *user) {
    (void)n;
    snprintf(user, 160, "%s", error->desc ? error->desc : "");
    return 0;
}

static imp_status failed(imp_foreign *f, const char *where, const char *what) {
    char text[160] = "";
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_DOWNWARD, keep_innermost, text);
    return imp_foreign_fail(f, "%s: expected %s, found what libhdf5 cannot read%s%s",
        where, what, text[0] ? ": " : "", text);
}

/* --- the file from memory, by a driver: libhdf5's own (core) would call open first --- */

typedef struct memory_info {
    const uint8_t *data;
    size_t size;
} memory_info;

typedef struct memory {
    H5FD_t public; /* first: libhdf5's own */
    memory_info info;
    haddr_t end; /* that libhdf5 has set */
} memory;

static H5FD_t *memory_open(
    const char *name, unsigned flags, hid_t access, haddr_t most) {
    const memory_info *info = H5Pget_driver_info(access);
    memory *m = info ? calloc(1, sizeof *m) : NULL;
    (void)name, (void)flags, (void)most;
    if (!m) return NULL;
    m->info = *info;
    return &m->public;
}

static herr_t memory_close(H5FD_t *file) {
    free(file);
    return 0;
}

static haddr_t memory_get_end(const H5FD_t *file, H5FD_mem_t kind) {
    (void)kind;
    return ((const memory *)file)->end;
}

static herr_t memory_set_end(H5FD_t *file, H5FD_mem_t kind, haddr_t end) {
    (void)kind;
    ((memory *)file)->end = end;
    return 0;
}

static haddr_t memory_size(const H5FD_t *file, H5FD_mem_t kind) {
    (void)kind;
    return ((const memory *)file)->info.size;
}

static herr_t memory_read(
    H5FD_t *file, H5FD_mem_t kind, hid_t how, haddr_t at, size_t size, void *out) {
    const memory *m = (const memory *)file;
    (void)kind, (void)how;
    if (!imp_in_range(at, size, m->info.size)) return -1;
    if (size) memcpy(out, m->info.data + at, size);
    return 0;
}

static herr_t memory_write(H5FD_t *file, H5FD_mem_t kind, hid_t how, haddr_t at,
    size_t size, const void *from) {
    (void)file, (void)kind, (void)how, (void)at, (void)size, (void)from;
    return -1;
}

static const H5FD_class_t memory_class = {
#ifdef H5FD_CLASS_VERSION /* since 1.14 */
    .version = H5FD_CLASS_VERSION,
    .value = 600, /* of those that are not registered anywhere */
#endif
    .name = "mapped",
    .maxaddr = ((haddr_t)1 << 63) - 1,
    .fc_degree = H5F_CLOSE_STRONG,
    .fapl_size = sizeof(memory_info),
    .open = memory_open,
    .close = memory_close,
    .get_eoa = memory_get_end,
    .set_eoa = memory_set_end,
    .get_eof = memory_size,
    .read = memory_read,
    .write = memory_write,
    .fl_map = H5FD_FLMAP_DICHOTOMY,
};

static hid_t open_image(imp_foreign *f) {
    memory_info info = {f->data, f->size};
    hid_t driver = H5FDregister(&memory_class), file = H5I_INVALID_HID;
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    if (driver >= 0 && access >= 0 && H5Pset_driver(access, driver, &info) >= 0 &&
        H5Pset_cache(access, 0, 521, SLAB, 1) >= 0)
        file = H5Fopen("/memory", H5F_ACC_RDONLY, access);
    if (access >= 0) H5Pclose(access);
    if (driver >= 0) H5FDunregister(driver);
    return file;
}

/* --- a dataset --- */

/* Its numbers, IEEE's and little endian. *other: they are numbers of another kind, which are
 * not told of. */
static bool type_of(hid_t type, imp_dtype *dtype, bool *other) {
    H5T_class_t class = H5Tget_class(type);
    size_t sign, exponent, exponent_bits, mantissa, mantissa_bits,
        size = H5Tget_size(type);
    *other = class == H5T_INTEGER || class == H5T_ENUM ||
             (class == H5T_STRING && H5Tis_variable_str(type) == 0);
    if (class != H5T_FLOAT || H5Tget_order(type) != H5T_ORDER_LE) return false;
    if (H5Tget_fields(
            type, &sign, &exponent, &exponent_bits, &mantissa, &mantissa_bits) < 0)
        return false;
    *dtype = size == 8 ? IMP_DTYPE_F64 : size == 4 ? IMP_DTYPE_F32 : IMP_DTYPE_F16;
    if (size != 2)
        return H5Tequal(type, size == 8 ? H5T_IEEE_F64LE : H5T_IEEE_F32LE) > 0;
    return sign == 15 && exponent == 10 && exponent_bits == 5 && mantissa == 0 &&
           mantissa_bits == 10 && H5Tget_ebias(type) == 15 &&
           H5Tget_precision(type) == 16 && H5Tget_norm(type) == H5T_NORM_IMPLIED;
}

static imp_status shape_of(
    imp_foreign *f, const char *where, hid_t set, imp_foreign_tensor *t) {
    hsize_t shape[IMP_SAFETENSORS_DIMS];
    hid_t space = H5Dget_space(set);
    if (space < 0) return failed(f, where, "a shape");
    H5S_class_t class = H5Sget_simple_extent_type(space);
    int n = class == H5S_SIMPLE ? H5Sget_simple_extent_ndims(space) : 0;
    bool fits = class == H5S_SCALAR ||
                (n >= 0 && n <= IMP_SAFETENSORS_DIMS && class == H5S_SIMPLE &&
                    H5Sget_simple_extent_dims(space, shape, NULL) == n);
    H5Sclose(space);
    if (!fits)
        return imp_foreign_fail(f,
            "%s: shape: expected at most %d dimensions, found %d", where,
            IMP_SAFETENSORS_DIMS, n);
    t->ndim = (size_t)n;
    for (size_t i = 0; i < t->ndim; i++) t->shape[i] = shape[i];
    return IMP_OK;
}

/* Bytes of t, 0 where they are more than memory has (imp_foreign_add says so). */
static size_t bytes_of(const imp_foreign_tensor *t) {
    size_t bytes = imp_dtype_size(t->dtype);
    for (size_t i = 0; i < t->ndim; i++)
        if (!imp_mul(&bytes, bytes, t->shape[i])) return 0;
    return bytes;
}

static imp_status check_filters(imp_foreign *f, const char *where, hid_t how) {
    int n = H5Pget_nfilters(how);
    if (n < 0 || n > 8) return failed(f, where, "at most 8 filters");
    for (unsigned i = 0; i < (unsigned)n; i++) {
        unsigned flags, config, values[8];
        size_t n_values = 8;
        H5Z_filter_t filter =
            H5Pget_filter2(how, i, &flags, &n_values, values, 0, NULL, &config);
        if (filter != H5Z_FILTER_DEFLATE && filter != H5Z_FILTER_SHUFFLE &&
            filter != H5Z_FILTER_FLETCHER32)
            return imp_foreign_fail(f,
                "%s: filters: expected gzip, shuffle or fletcher32, found number %d",
                where, (int)filter);
    }
    return IMP_OK;
}

/* A chunk is unpacked in one piece, so it may not claim much more than the tensor has. */
static imp_status check_chunks(
    imp_foreign *f, const char *where, hid_t how, const imp_foreign_tensor *t) {
    hsize_t chunk[IMP_SAFETENSORS_DIMS];
    size_t bytes = imp_dtype_size(t->dtype), total = bytes_of(t);
    size_t most = imp_least(total > PIECE ? total : PIECE, SLAB);
    int n = H5Pget_chunk(how, IMP_SAFETENSORS_DIMS, chunk);
    bool fits = n > 0 && (size_t)n == t->ndim;
    for (size_t i = 0; fits && i < t->ndim; i++)
        fits = chunk[i] > 0 && imp_mul(&bytes, bytes, chunk[i]) && bytes <= most;
    if (fits) return IMP_OK;
    return imp_foreign_fail(
        f, "%s: chunks: expected at most %zu bytes each, found more", where, most);
}

/* Asked before the shape, for which libhdf5 may look into the files of a virtual dataset. */
static imp_status check_layout(imp_foreign *f, const char *where, hid_t how) {
    H5D_layout_t layout = H5Pget_layout(how);
    if (H5Pget_external_count(how) != 0)
        return imp_foreign_fail(
            f, "%s: expected numbers in this file, found external storage", where);
    if (layout != H5D_CHUNKED && layout != H5D_COMPACT && layout != H5D_CONTIGUOUS)
        return imp_foreign_fail(
            f, "%s: expected numbers in this file, found a virtual dataset", where);
    return check_filters(f, where, how);
}

/* Where the numbers lie: in a row, or in chunks. */
static imp_status check_place(
    imp_foreign *f, const char *where, hid_t set, hid_t how, imp_foreign_tensor *t) {
    H5D_layout_t layout = H5Pget_layout(how);
    if (layout == H5D_CHUNKED) return check_chunks(f, where, how, t);
    size_t bytes = bytes_of(t);
    haddr_t at = layout == H5D_COMPACT ? 0 : H5Dget_offset(set);
    t->inside = layout == H5D_CONTIGUOUS;
    t->offset = at == HADDR_UNDEF || bytes == 0 ? 0 : at;
    /* libhdf5 1.10 reads past compact numbers that are fewer than the shape says. */
    if (H5Dget_storage_size(set) >= bytes && (at != HADDR_UNDEF || bytes == 0))
        return IMP_OK;
    return imp_foreign_fail(
        f, "%s: expected %zu bytes of numbers, found fewer", where, bytes);
}

/* Keras 3's own files number the variables of a layer and call layers by their class. */
static imp_status check_naming(imp_foreign *f, const char *path) {
    if (!strstr(path, "/vars/") && strncmp(path, "vars/", 5)) return IMP_OK;
    return imp_foreign_fail(f,
        "dataset %s: expected layers by name, found Keras 3's .weights.h5, which has "
        "none: "
        "save the model there by model.save('file.h5')",
        path);
}

static imp_status tell_number(imp_foreign *f, const char *where, hid_t set,
    haddr_t address, hid_t how, imp_foreign_tensor *t) {
    state *st = f->state;
    imp_status s = check_naming(f, t->name);
    if (!s) s = check_layout(f, where, how);
    if (!s) s = shape_of(f, where, set, t);
    if (!s) s = check_place(f, where, set, how, t);
    if (!s) s = imp_foreign_add(f, t);
    if (!s) st->sets[f->n - 1] = address;
    return s;
}

static imp_status tell(imp_foreign *f, hid_t set, haddr_t address, const char *path) {
    imp_foreign_tensor t = {0};
    char where[IMP_FOREIGN_NAME + 10];
    bool other = false;
    imp_status s = imp_foreign_name(f, &t, "%s", path);
    if (s) return s;
    snprintf(where, sizeof where, "dataset %s", path);
    hid_t type = H5Dget_type(set), how = H5Dget_create_plist(set);
    if (type < 0 || how < 0)
        s = failed(f, where, "a type and a layout");
    else if (type_of(type, &t.dtype, &other))
        s = tell_number(f, where, set, address, how, &t);
    else if (!other)
        s = imp_foreign_fail(f,
            "%s: expected little-endian float16, float32 or float64, found another "
            "type",
            where);
    if (type >= 0) H5Tclose(type);
    if (how >= 0) H5Pclose(how);
    return s;
}

/* --- groups --- */

typedef struct visit {
    imp_foreign *f;
    const char *path; /* of the group, "" or with a slash at its end */
    int depth;
    imp_status status;
} visit;

static imp_status walk(imp_foreign *f, hid_t group, const char *path, int depth);

static imp_status enter(imp_foreign *f, haddr_t address, const char *path, int depth) {
    char inner[IMP_FOREIGN_NAME + 1];
    state *st = f->state;
    hid_t object = H5Oopen_by_addr(st->file, address);
    if (object < 0) return failed(f, path, "an object");
    imp_status s = IMP_OK;
    H5I_type_t kind = H5Iget_type(object);
    snprintf(inner, sizeof inner, "%s/", path);
    if (kind == H5I_GROUP)
        s = walk(f, object, inner, depth + 1);
    else if (kind == H5I_DATASET)
        s = tell(f, object, address, path);
    H5Oclose(object);
    return s;
}

/* Objects are opened by their place, never by a name that libhdf5 would follow. */
static imp_status link_at(
    imp_foreign *f, const visit *v, const char *name, const H5L_info_t *info) {
    state *st = f->state;
    imp_foreign_tensor t;
    imp_status s = imp_foreign_name(f, &t, "%s%s", v->path, name);
    if (s) return s;
    if (info->type != H5L_TYPE_HARD)
        return imp_foreign_fail(f, "%s: expected an object, found a link to %s", t.name,
            info->type == H5L_TYPE_SOFT ? "another place" : "another file");
    if (++st->objects > OBJECTS)
        return imp_foreign_fail(f, "expected at most %d objects, found more", OBJECTS);
    return enter(f, info->u.address, t.name, v->depth);
}

static herr_t on_link(
    hid_t group, const char *name, const H5L_info_t *info, void *user) {
    visit *v = user;
    (void)group;
    v->status = link_at(v->f, v, name, info);
    return v->status ? 1 : 0;
}

static imp_status walk(imp_foreign *f, hid_t group, const char *path, int depth) {
    visit v = {.f = f, .path = path, .depth = depth};
    if (depth > DEEPEST)
        return imp_foreign_fail(
            f, "%s: expected groups at most %d deep, found more", path, DEEPEST);
    if (H5Literate(group, H5_INDEX_NAME, H5_ITER_NATIVE, NULL, on_link, &v) < 0 &&
        !v.status)
        return failed(f, path[0] ? path : "/", "a group");
    return v.status;
}

/* --- the reader --- */

/* libhdf5 starts, and is told to load no plugins and to print nothing. */
static imp_status prepare(imp_foreign *f) {
    H5dont_atexit();
    if (H5open() < 0 || H5Eset_auto2(H5E_DEFAULT, NULL, NULL) < 0 ||
        H5PLset_loading_state(0) < 0)
        return imp_foreign_fail(f, "libhdf5 does not start");
    return IMP_OK;
}

static imp_status open_file(imp_foreign *f) {
    static const char model[] = "model_weights";
    H5L_info_t info;
    state *st = calloc(1, sizeof *st);
    if (!(f->state = st))
        return imp_fail(f->ctx, IMP_ERR_LIMIT, "%s: no memory", f->path);
    st->file = open_image(f);
    if (st->file < 0) return failed(f, "superblock", "an HDF5 file");
    htri_t whole = H5Lexists(st->file, model, H5P_DEFAULT);
    if (whole < 0) return failed(f, "/", "a group");
    if (!whole) return walk(f, st->file, "", 0);
    if (H5Lget_info(st->file, model, &info, H5P_DEFAULT) < 0 ||
        info.type != H5L_TYPE_HARD)
        return imp_foreign_fail(f, "%s: expected a group, found a link", model);
    hid_t group = H5Oopen_by_addr(st->file, info.u.address);
    if (group < 0) return failed(f, model, "a group");
    imp_status s = H5Iget_type(group) == H5I_GROUP
                       ? walk(f, group, "", 0)
                       : imp_foreign_fail(f, "%s: expected a group", model);
    H5Oclose(group);
    return s;
}

/* How a tensor is read: rows of an axis, one index of each axis before it. */
typedef struct slabs {
    size_t axis, rows, row_bytes;
    hsize_t start[IMP_SAFETENSORS_DIMS], count[IMP_SAFETENSORS_DIMS];
} slabs;

/* The outermost axis of which a row fits a slab, in rows of whole chunks if these fit. */
static void plan(const imp_foreign_tensor *t, size_t chunk, slabs *s) {
    *s = (slabs){.row_bytes = imp_dtype_size(t->dtype)};
    s->axis = t->ndim - 1;
    while (s->axis > 0 && s->row_bytes * t->shape[s->axis] <= SLAB)
        s->row_bytes *= t->shape[s->axis--];
    s->rows = SLAB / s->row_bytes;
    if (s->axis == 0 && chunk && s->rows > chunk) s->rows -= s->rows % chunk;
    s->rows = imp_least(s->rows, t->shape[s->axis]);
    for (size_t i = 0; i < t->ndim; i++) s->count[i] = i < s->axis ? 1 : t->shape[i];
}

/* The next slab's start; false: it was the last. */
static bool advance(const imp_foreign_tensor *t, slabs *s) {
    s->start[s->axis] += s->rows;
    for (size_t i = s->axis; s->start[i] >= t->shape[i]; i--) {
        s->start[i] = 0;
        if (i == 0) return false;
        s->start[i - 1]++;
    }
    return true;
}

static imp_status read_slab(
    imp_foreign *f, const imp_foreign_tensor *t, hid_t set, slabs *s, uint8_t *buffer) {
    size_t rows = imp_least(s->rows, t->shape[s->axis] - s->start[s->axis]);
    size_t bytes = rows * s->row_bytes;
    s->count[s->axis] = rows;
    /* Of the same rank: libhdf5 then copies rows, not one number after another. */
    hid_t from = H5Dget_space(set), to = H5Screate_simple((int)t->ndim, s->count, NULL);
    hid_t type = H5Dget_type(set);
    bool read = from >= 0 && to >= 0 && type >= 0 &&
                H5Sselect_hyperslab(
                    from, H5S_SELECT_SET, s->start, NULL, s->count, NULL) >= 0 &&
                H5Dread(set, type, to, from, H5P_DEFAULT, buffer) >= 0;
    imp_status status = read ? IMP_OK : failed(f, t->name, "numbers");
    if (type >= 0) H5Tclose(type);
    if (to >= 0) H5Sclose(to);
    if (from >= 0) H5Sclose(from);
    for (size_t i = 0; i < bytes && !status; i += PIECE)
        status = imp_foreign_send(f, buffer + i, imp_least(bytes - i, PIECE));
    if (bytes >= FORGET) imp_file_forget(&(imp_file){f->data, f->size}, 0, f->size);
    return status;
}

static imp_status read_slabs(
    imp_foreign *f, const imp_foreign_tensor *t, hid_t set, size_t chunk) {
    slabs s;
    plan(t, chunk, &s);
    uint8_t *buffer = malloc(s.rows * s.row_bytes);
    if (!buffer) return imp_fail(f->ctx, IMP_ERR_LIMIT, "%s: no memory", f->path);
    imp_status status;
    do status = read_slab(f, t, set, &s, buffer);
    while (!status && advance(t, &s));
    free(buffer);
    return status;
}

static imp_status read_all(imp_foreign *f, const imp_foreign_tensor *t, hid_t set) {
    uint8_t number[8];
    hsize_t chunk[IMP_SAFETENSORS_DIMS] = {0};
    hid_t how = H5Dget_create_plist(set), type = H5Dget_type(set);
    if (how >= 0 && H5Pget_layout(how) == H5D_CHUNKED)
        H5Pget_chunk(how, IMP_SAFETENSORS_DIMS, chunk);
    imp_status s;
    if (how < 0 || type < 0)
        s = failed(f, t->name, "numbers");
    else if (t->ndim)
        s = read_slabs(f, t, set, chunk[0]);
    else if (H5Dread(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, number) < 0)
        s = failed(f, t->name, "a number");
    else
        s = imp_foreign_send(f, number, imp_dtype_size(t->dtype));
    if (type >= 0) H5Tclose(type);
    if (how >= 0) H5Pclose(how);
    return s;
}

static imp_status read_tensor(imp_foreign *f, size_t i) {
    state *st = f->state;
    if (f->tensors[i].count == 0) return IMP_OK;
    hid_t set = H5Oopen_by_addr(st->file, st->sets[i]);
    if (set < 0) return failed(f, f->tensors[i].name, "a dataset");
    imp_status s = read_all(f, &f->tensors[i], set);
    H5Oclose(set);
    return s;
}

static void close_file(imp_foreign *f) {
    state *st = f->state;
    if (!st) return;
    if (st->file >= 0) H5Fclose(st->file);
    free(st);
    f->state = NULL;
}

const imp_reader imp_reader_h5 = {.format = "Keras (HDF5)",
    .recognise = recognise,
    .prepare = prepare,
    .open = open_file,
    .read = read_tensor,
    .close = close_file};

#else

const imp_reader imp_reader_h5 = {
    .format = "Keras (HDF5)", .recognise = recognise, .lacks = "libhdf5-dev"};

#endif
