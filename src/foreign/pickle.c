/* SPDX-License-Identifier: MIT
 *
 * pickle.c: a machine with a stack and a memo (Python's pickletools.py describes both). An
 * opcode makes one value at most, of a byte or more, so there are no more values than bytes;
 * MOST_VALUES keeps their memory below what a child may have. A list can hold itself, by the
 * memo, so nothing here or in pth.c walks down values by recursion.
 */
#include "foreign/pickle.h"

#include <stdlib.h>
#include <string.h>

#define MOST_VALUES ((size_t)1 << 18) /* also of places on the stack and in the memo */
#define MOST_CELLS  ((size_t)1 << 19)
#define NO_VALUE    UINT32_MAX

static const imp_pickle_global globals[] = {
    {"collections", "OrderedDict", IMP_PICKLE_ORDERED_DICT, 0, 0},
    {"torch._utils", "_rebuild_tensor", IMP_PICKLE_TENSOR, 0, 0}, /* before 0.4 */
    {"torch._utils", "_rebuild_tensor_v2", IMP_PICKLE_TENSOR, 0, 0},
    {"torch._utils", "_rebuild_parameter", IMP_PICKLE_PARAMETER, 0, 0},
    {"torch", "DoubleStorage", IMP_PICKLE_STORAGE, 8, IMP_DTYPE_F64},
    {"torch", "FloatStorage", IMP_PICKLE_STORAGE, 4, IMP_DTYPE_F32},
    {"torch", "HalfStorage", IMP_PICKLE_STORAGE, 2, IMP_DTYPE_F16},
    {"torch", "BFloat16Storage", IMP_PICKLE_STORAGE, 2, IMP_DTYPE_BF16},
    {"torch", "LongStorage", IMP_PICKLE_STORAGE, 8, IMP_DTYPE_I64},
    {"torch", "IntStorage", IMP_PICKLE_STORAGE, 4, IMP_DTYPE_I32},
    {"torch", "ShortStorage", IMP_PICKLE_STORAGE, 2, IMP_DTYPE_I16},
    {"torch", "CharStorage", IMP_PICKLE_STORAGE, 1, IMP_DTYPE_I8},
    {"torch", "ByteStorage", IMP_PICKLE_STORAGE, 1, IMP_DTYPE_U8},
    {"torch", "BoolStorage", IMP_PICKLE_STORAGE, 1, IMP_DTYPE_BOOL},
};

typedef struct machine {
    imp_foreign *f;
    imp_pickle *p;
    const char *name;
    const uint8_t *data;
    size_t size, at, begin; /* begin: of the opcode that runs */
    const char *opcode;     /* its name */
    uint64_t operand;       /* its number; the length of text where it has one */
    const char *text;
    bool stopped;
} machine;

/* --- what the machine is made of --- */

static imp_status no_memory(machine *m) {
    return imp_fail(m->f->ctx, IMP_ERR_LIMIT, "%s: no memory", m->f->path);
}

static imp_status expected(machine *m, const char *what, const char *found) {
    return imp_foreign_fail(m->f, "%s: %s at byte %zu: expected %s, found %s", m->name,
        m->opcode, m->begin, what, found);
}

/* Room for one more of n things of some size, of which there may be most. */
static imp_status grow(
    machine *m, void *things, size_t *room, size_t n, size_t size, size_t most) {
    if (n >= most)
        return imp_foreign_fail(m->f,
            "%s: %s at byte %zu: expected at most %zu values, found more", m->name,
            m->opcode, m->begin, most);
    if (n < *room) return IMP_OK;
    size_t wanted = *room ? 2 * *room : 64;
    while (wanted <= n) wanted *= 2;
    void *grown = realloc(*(void **)things, wanted * size);
    if (!grown) return no_memory(m);
    *(void **)things = grown;
    *room = wanted;
    return IMP_OK;
}

static imp_status array_push(machine *m, imp_pickle_array *a, size_t value) {
    imp_status s = grow(m, &a->at, &a->room, a->n, sizeof *a->at, MOST_VALUES);
    if (!s) a->at[a->n++] = (uint32_t)value;
    return s;
}

static imp_status push(machine *m, imp_pickle_value value) {
    imp_pickle *p = m->p;
    imp_status s = grow(
        m, &p->values, &p->values_room, p->n_values, sizeof *p->values, MOST_VALUES);
    if (s || (s = array_push(m, &p->stack, p->n_values))) return s;
    p->values[p->n_values++] = value;
    return IMP_OK;
}

/* Values above the last mark. */
static size_t height(const machine *m) {
    const imp_pickle_array *marks = &m->p->marks;
    return m->p->stack.n - (marks->n ? marks->at[marks->n - 1] : 0);
}

static imp_status need(machine *m, size_t n) {
    return height(m) >= n ? IMP_OK
                          : expected(m, "a value on the stack", "the stack empty");
}

/* The value below the topmost n; need(n + 1) before. */
static uint32_t below(const machine *m, size_t n) {
    return m->p->stack.at[m->p->stack.n - 1 - n];
}

static imp_status append(machine *m, uint32_t container, uint32_t item) {
    imp_pickle *p = m->p;
    imp_status s =
        grow(m, &p->cells, &p->cells_room, p->n_cells, sizeof *p->cells, MOST_CELLS);
    if (s) return s;
    imp_pickle_value *v = &p->values[container];
    uint32_t cell = (uint32_t)p->n_cells++;
    p->cells[cell] = (imp_pickle_cell){.value = item, .next = cell};
    if (v->n++) {
        p->cells[cell].next = p->cells[v->is.last].next;
        p->cells[v->is.last].next = cell;
    }
    v->is.last = cell;
    return IMP_OK;
}

/* The topmost n values to the container that lies below them, and off the stack. */
static imp_status append_top(machine *m, imp_pickle_kind kind, size_t n) {
    uint32_t container = below(m, n);
    const imp_pickle_value *v = &m->p->values[container];
    if (v->kind != kind)
        return expected(
            m, kind == IMP_PICKLE_LIST ? "a list" : "a dict", imp_pickle_kind_name(v));
    for (size_t i = n; i-- > 0;) {
        imp_status s = append(m, container, below(m, i));
        if (s) return s;
    }
    m->p->stack.n -= n;
    return IMP_OK;
}

/* Off with the last mark; *n: the values that were above it. */
static imp_status take_mark(machine *m, size_t *n) {
    if (!m->p->marks.n) return expected(m, "a mark on the stack", "none");
    *n = height(m);
    m->p->marks.n--;
    return IMP_OK;
}

/* The topmost n values as one tuple. */
static imp_status tuple_of(machine *m, size_t n) {
    imp_status s = push(m, (imp_pickle_value){.kind = IMP_PICKLE_TUPLE});
    if (s) return s;
    uint32_t tuple = below(m, 0);
    for (size_t i = n; i > 0; i--)
        if ((s = append(m, tuple, below(m, i)))) return s;
    m->p->stack.n -= n;
    m->p->stack.at[m->p->stack.n - 1] = tuple;
    return IMP_OK;
}

/* --- opcodes --- */

static imp_status op_proto(machine *m) {
    return m->operand >= 2 && m->operand <= 5
               ? IMP_OK
               : expected(m, "a protocol of 2 to 5", "another");
}

static imp_status op_frame(machine *m) {
    return m->operand <= m->size - m->at
               ? IMP_OK
               : expected(m, "a frame inside of the pickle", "a longer one");
}

static imp_status op_stop(machine *m) {
    imp_pickle *p = m->p;
    if (p->stack.n != 1 || p->marks.n)
        return expected(m, "one value on the stack", p->stack.n ? "more" : "none");
    p->root = &p->values[below(m, 0)];
    m->stopped = true;
    return IMP_OK;
}

static imp_status op_none(machine *m) {
    return push(m, (imp_pickle_value){.kind = IMP_PICKLE_NONE});
}

static imp_status op_true(machine *m) {
    return push(m, (imp_pickle_value){.kind = IMP_PICKLE_BOOL, .is.number = 1});
}

static imp_status op_false(machine *m) {
    return push(m, (imp_pickle_value){.kind = IMP_PICKLE_BOOL});
}

static imp_status op_unsigned(machine *m) {
    return push(m,
        (imp_pickle_value){.kind = IMP_PICKLE_INT, .is.number = (int64_t)m->operand});
}

static imp_status op_signed(machine *m) {
    int64_t x = (int64_t)m->operand;
    return push(m, (imp_pickle_value){.kind = IMP_PICKLE_INT,
                       .is.number = x < INT64_C(1) << 31 ? x : x - (INT64_C(1) << 32)});
}

static imp_status op_long(machine *m) {
    size_t n = (size_t)m->operand;
    if (n > 8)
        return push(
            m, (imp_pickle_value){
                   .kind = IMP_PICKLE_LONG, .n = (uint32_t)n, .is.text = m->text});
    uint64_t x = n && (uint8_t)m->text[n - 1] >= 128 ? UINT64_MAX : 0;
    for (size_t i = n; i-- > 0;) x = x << 8 | (uint8_t)m->text[i];
    int64_t number;
    memcpy(&number, &x, sizeof number);
    return push(m, (imp_pickle_value){.kind = IMP_PICKLE_INT, .is.number = number});
}

static imp_status op_float(machine *m) {
    return push(m, (imp_pickle_value){.kind = IMP_PICKLE_FLOAT});
}

static imp_status op_text(machine *m) {
    return push(
        m, (imp_pickle_value){
               .kind = IMP_PICKLE_TEXT, .n = (uint32_t)m->operand, .is.text = m->text});
}

static imp_status op_empty_tuple(machine *m) {
    return tuple_of(m, 0);
}

static imp_status op_empty_list(machine *m) {
    return push(m, (imp_pickle_value){.kind = IMP_PICKLE_LIST});
}

static imp_status op_empty_dict(machine *m) {
    return push(m, (imp_pickle_value){.kind = IMP_PICKLE_DICT});
}

static imp_status op_mark(machine *m) {
    return array_push(m, &m->p->marks, m->p->stack.n);
}

static imp_status op_tuple(machine *m) {
    size_t n = 0;
    imp_status s = take_mark(m, &n);
    return s ? s : tuple_of(m, n);
}

static imp_status op_tuple1(machine *m) {
    imp_status s = need(m, 1);
    return s ? s : tuple_of(m, 1);
}

static imp_status op_tuple2(machine *m) {
    imp_status s = need(m, 2);
    return s ? s : tuple_of(m, 2);
}

static imp_status op_tuple3(machine *m) {
    imp_status s = need(m, 3);
    return s ? s : tuple_of(m, 3);
}

static imp_status op_append(machine *m) {
    imp_status s = need(m, 2);
    return s ? s : append_top(m, IMP_PICKLE_LIST, 1);
}

static imp_status op_setitem(machine *m) {
    imp_status s = need(m, 3);
    return s ? s : append_top(m, IMP_PICKLE_DICT, 2);
}

static imp_status op_appends(machine *m) {
    size_t n = 0;
    imp_status s = take_mark(m, &n);
    if (s || (s = need(m, n + 1))) return s;
    return append_top(m, IMP_PICKLE_LIST, n);
}

static imp_status op_setitems(machine *m) {
    size_t n = 0;
    imp_status s = take_mark(m, &n);
    if (s || (s = need(m, n + 1))) return s;
    if (n % 2) return expected(m, "pairs of key and value", "a key without a value");
    return append_top(m, IMP_PICKLE_DICT, n);
}

static imp_status memorise(machine *m, uint64_t index) {
    imp_pickle_array *memo = &m->p->memo;
    imp_status s = need(m, 1);
    if (s) return s;
    if (index >= MOST_VALUES)
        return imp_foreign_fail(m->f,
            "%s: %s at byte %zu: expected a memo index below %zu, found %llu", m->name,
            m->opcode, m->begin, MOST_VALUES, (unsigned long long)index);
    while (memo->n <= index)
        if ((s = array_push(m, memo, NO_VALUE))) return s;
    m->p->memorised += memo->at[index] == NO_VALUE;
    memo->at[index] = below(m, 0);
    return IMP_OK;
}

static imp_status op_put(machine *m) {
    return memorise(m, m->operand);
}

static imp_status op_memoize(machine *m) {
    return memorise(m, m->p->memorised);
}

static imp_status op_get(machine *m) {
    const imp_pickle_array *memo = &m->p->memo;
    if (m->operand >= memo->n || memo->at[m->operand] == NO_VALUE)
        return imp_foreign_fail(m->f,
            "%s: %s at byte %zu: expected a memo index that was set, found %llu",
            m->name, m->opcode, m->begin, (unsigned long long)m->operand);
    return array_push(m, &m->p->stack, memo->at[m->operand]);
}

/* --- globals, and what is made of them --- */

static bool is(const char *text, size_t n, const char *word) {
    return n == strlen(word) && memcmp(text, word, n) == 0;
}

static bool starts(const char *text, size_t n, const char *word) {
    return n >= strlen(word) && memcmp(text, word, strlen(word)) == 0;
}

static imp_status push_global(
    machine *m, const char *module, size_t n, const char *name, size_t name_n) {
    for (size_t i = 0; i < sizeof globals / sizeof *globals; i++)
        if (is(module, n, globals[i].module) && is(name, name_n, globals[i].name))
            return push(m,
                (imp_pickle_value){.kind = IMP_PICKLE_GLOBAL, .global = &globals[i]});
    bool model = starts(module, n, "torch.nn.") || starts(module, n, "torchvision.") ||
                 starts(module, n, "__main__");
    return imp_foreign_fail(m->f,
        "%s: %s at byte %zu: expected what a state dict of tensors needs, found "
        "%.*s.%.*s%s",
        m->name, m->opcode, m->begin, (int)imp_least(n, 60), module,
        (int)imp_least(name_n, 60), name,
        model
            ? ": this is a whole model, pickled; save its tensors alone instead, with "
              "torch.save(model.state_dict(), PATH)"
            : ", which is not called");
}

/* Text up to the next newline, and past it. */
static imp_status take_line(machine *m, const char **line, size_t *n) {
    const uint8_t *from = m->data + m->at;
    const uint8_t *end = memchr(from, '\n', m->size - m->at);
    if (!end) return expected(m, "a line", "the end of the file");
    *line = (const char *)from;
    *n = (size_t)(end - from);
    m->at += *n + 1;
    return IMP_OK;
}

static imp_status op_global(machine *m) {
    const char *module = NULL, *name = NULL;
    size_t n = 0, name_n = 0;
    imp_status s = take_line(m, &module, &n);
    if (s || (s = take_line(m, &name, &name_n))) return s;
    return push_global(m, module, n, name, name_n);
}

static imp_status op_stack_global(machine *m) {
    imp_status s = need(m, 2);
    if (s) return s;
    imp_pickle_value module = m->p->values[below(m, 1)],
                     name = m->p->values[below(m, 0)];
    if (module.kind != IMP_PICKLE_TEXT || name.kind != IMP_PICKLE_TEXT)
        return expected(m, "two strings", "something else");
    m->p->stack.n -= 2;
    return push_global(m, module.is.text, module.n, name.is.text, name.n);
}

/* OrderedDict() or, by Python 2, OrderedDict([[key, value], ...]). */
static imp_status ordered_dict(machine *m, const imp_pickle_value *arguments) {
    imp_pickle *p = m->p;
    const imp_pickle_value *list = imp_pickle_item(p, arguments, 0);
    if (arguments->n > 1 || (list && list->kind != IMP_PICKLE_LIST))
        return expected(m, "an OrderedDict of a list", imp_pickle_kind_name(list));
    imp_pickle_value pairs = list ? *list : (imp_pickle_value){.kind = IMP_PICKLE_LIST};
    imp_status s = op_empty_dict(m);
    uint32_t dict = s ? 0 : below(m, 0), cell = pairs.is.last;
    for (size_t i = 0; !s && i < pairs.n; i++) { /* append may move cells and values */
        cell = p->cells[cell].next;
        imp_pickle_value pair = p->values[p->cells[cell].value];
        if ((pair.kind != IMP_PICKLE_LIST && pair.kind != IMP_PICKLE_TUPLE) ||
            pair.n != 2)
            return expected(m, "pairs of key and value", imp_pickle_kind_name(&pair));
        imp_pickle_cell second = p->cells[pair.is.last], first = p->cells[second.next];
        s = append(m, dict, first.value);
        if (!s) s = append(m, dict, second.value);
    }
    return s;
}

static imp_status op_reduce(machine *m) {
    imp_status s = need(m, 2);
    if (s) return s;
    imp_pickle_value called = m->p->values[below(m, 1)],
                     arguments = m->p->values[below(m, 0)];
    if (called.kind != IMP_PICKLE_GLOBAL || called.global->role == IMP_PICKLE_STORAGE)
        return expected(m, "OrderedDict or a tensor's function",
            called.kind == IMP_PICKLE_GLOBAL ? called.global->name
                                             : imp_pickle_kind_name(&called));
    if (arguments.kind != IMP_PICKLE_TUPLE)
        return expected(m, "a tuple of arguments", imp_pickle_kind_name(&arguments));
    m->p->stack.n -= 2;
    if (called.global->role == IMP_PICKLE_ORDERED_DICT)
        return ordered_dict(m, &arguments);
    arguments.kind = IMP_PICKLE_CALL;
    arguments.global = called.global;
    return push(m, arguments);
}

/* An OrderedDict's attributes (_metadata): nothing that is needed. */
static imp_status op_build(machine *m) {
    imp_status s = need(m, 2);
    if (s) return s;
    const imp_pickle_value *v = &m->p->values[below(m, 1)];
    if (v->kind != IMP_PICKLE_DICT)
        return expected(m, "a dict", imp_pickle_kind_name(v));
    m->p->stack.n--;
    return IMP_OK;
}

static imp_status op_persistent(machine *m) {
    imp_status s = need(m, 1);
    if (s) return s;
    imp_pickle_value id = m->p->values[below(m, 0)];
    if (id.kind != IMP_PICKLE_TUPLE)
        return expected(m, "a tuple", imp_pickle_kind_name(&id));
    m->p->stack.n--;
    id.kind = IMP_PICKLE_ID;
    return push(m, id);
}

/* The permitted ones, and names of others for the messages. */
typedef struct opcode {
    const char *name;
    size_t operand; /* bytes of a number after it */
    bool counted;   /* which is the length of what follows */
    imp_status (*run)(machine *m);
} opcode;

static const opcode opcodes[256] = {
    [0x80] = {"PROTO", 1, false, op_proto},
    [0x95] = {"FRAME", 8, false, op_frame},
    ['.'] = {"STOP", 0, false, op_stop},
    ['N'] = {"NONE", 0, false, op_none},
    [0x88] = {"NEWTRUE", 0, false, op_true},
    [0x89] = {"NEWFALSE", 0, false, op_false},
    ['K'] = {"BININT1", 1, false, op_unsigned},
    ['M'] = {"BININT2", 2, false, op_unsigned},
    ['J'] = {"BININT", 4, false, op_signed},
    [0x8a] = {"LONG1", 1, true, op_long},
    ['G'] = {"BINFLOAT", 8, false, op_float},
    ['X'] = {"BINUNICODE", 4, true, op_text},
    [0x8c] = {"SHORT_BINUNICODE", 1, true, op_text},
    ['U'] = {"SHORT_BINSTRING", 1, true, op_text}, /* Python 2 */
    ['T'] = {"BINSTRING", 4, true, op_text},
    [')'] = {"EMPTY_TUPLE", 0, false, op_empty_tuple},
    [']'] = {"EMPTY_LIST", 0, false, op_empty_list},
    ['}'] = {"EMPTY_DICT", 0, false, op_empty_dict},
    ['('] = {"MARK", 0, false, op_mark},
    ['t'] = {"TUPLE", 0, false, op_tuple},
    [0x85] = {"TUPLE1", 0, false, op_tuple1},
    [0x86] = {"TUPLE2", 0, false, op_tuple2},
    [0x87] = {"TUPLE3", 0, false, op_tuple3},
    ['a'] = {"APPEND", 0, false, op_append},
    ['e'] = {"APPENDS", 0, false, op_appends},
    ['s'] = {"SETITEM", 0, false, op_setitem},
    ['u'] = {"SETITEMS", 0, false, op_setitems},
    ['q'] = {"BINPUT", 1, false, op_put},
    ['r'] = {"LONG_BINPUT", 4, false, op_put},
    [0x94] = {"MEMOIZE", 0, false, op_memoize},
    ['h'] = {"BINGET", 1, false, op_get},
    ['j'] = {"LONG_BINGET", 4, false, op_get},
    ['c'] = {"GLOBAL", 0, false, op_global},
    [0x93] = {"STACK_GLOBAL", 0, false, op_stack_global},
    ['R'] = {"REDUCE", 0, false, op_reduce},
    ['b'] = {"BUILD", 0, false, op_build},
    ['Q'] = {"BINPERSID", 0, false, op_persistent},
    ['i'] = {"INST", 0, false, NULL},
    ['o'] = {"OBJ", 0, false, NULL},
    ['P'] = {"PERSID", 0, false, NULL},
    [0x81] = {"NEWOBJ", 0, false, NULL},
    [0x82] = {"EXT1", 0, false, NULL},
    [0x83] = {"EXT2", 0, false, NULL},
    [0x84] = {"EXT4", 0, false, NULL},
    [0x92] = {"NEWOBJ_EX", 0, false, NULL},
};

/* --- reading --- */

static imp_status take(machine *m, size_t n, const uint8_t **bytes) {
    if (!imp_in_range(m->at, n, m->size))
        return imp_foreign_fail(m->f,
            "%s: %s at byte %zu: expected %zu more bytes, found %zu", m->name,
            m->opcode, m->begin, n, m->size - m->at);
    *bytes = m->data + m->at;
    m->at += n;
    return IMP_OK;
}

static imp_status step(machine *m) {
    const uint8_t *bytes = NULL;
    m->begin = m->at;
    m->opcode = "opcode";
    imp_status s = take(m, 1, &bytes);
    if (s) return s;
    const opcode *o = &opcodes[*bytes];
    if (!o->run)
        return imp_foreign_fail(m->f,
            "%s: opcode 0x%02x%s%s at byte %zu: not one that a state dict of tensors "
            "needs",
            m->name, *bytes, o->name ? " " : "", o->name ? o->name : "", m->begin);
    m->opcode = o->name;
    m->operand = 0;
    if ((s = take(m, o->operand, &bytes))) return s;
    for (size_t i = o->operand; i-- > 0;) m->operand = m->operand << 8 | bytes[i];
    if (o->counted) {
        if ((s = take(m, (size_t)m->operand, &bytes))) return s;
        m->text = (const char *)bytes;
    }
    return o->run(m);
}

imp_status imp_pickle_read(imp_foreign *f, imp_pickle *p, const char *name,
    const uint8_t *data, size_t size, size_t at) {
    machine m = {.f = f, .p = p, .name = name, .data = data, .size = size, .at = at};
    if (at >= size || data[at] != 0x80)
        return imp_foreign_fail(
            f, "%s: byte %zu: expected a pickle of protocol 2 or later", name, at);
    while (!m.stopped) {
        imp_status s = step(&m);
        if (s) return s;
    }
    p->end = m.at;
    return IMP_OK;
}

void imp_pickle_free(imp_pickle *p) {
    free(p->values);
    free(p->cells);
    free(p->stack.at);
    free(p->marks.at);
    free(p->memo.at);
    *p = (imp_pickle){0};
}

const imp_pickle_cell *imp_pickle_first(
    const imp_pickle *p, const imp_pickle_value *v) {
    bool has = v->kind == IMP_PICKLE_TUPLE || v->kind == IMP_PICKLE_LIST ||
               v->kind == IMP_PICKLE_DICT || v->kind == IMP_PICKLE_CALL ||
               v->kind == IMP_PICKLE_ID;
    return has && v->n ? &p->cells[p->cells[v->is.last].next] : NULL;
}

const imp_pickle_cell *imp_pickle_next(
    const imp_pickle *p, const imp_pickle_value *v, const imp_pickle_cell *c) {
    return c == &p->cells[v->is.last] ? NULL : &p->cells[c->next];
}

const imp_pickle_value *imp_pickle_of(const imp_pickle *p, const imp_pickle_cell *c) {
    return &p->values[c->value];
}

const imp_pickle_value *imp_pickle_item(
    const imp_pickle *p, const imp_pickle_value *v, size_t i) {
    const imp_pickle_cell *c = imp_pickle_first(p, v);
    while (c && i-- > 0) c = imp_pickle_next(p, v, c);
    return c ? imp_pickle_of(p, c) : NULL;
}

bool imp_pickle_is_text(const imp_pickle_value *v, const char *text) {
    return v && v->kind == IMP_PICKLE_TEXT && is(v->is.text, v->n, text);
}

const char *imp_pickle_kind_name(const imp_pickle_value *v) {
    static const char *const names[] = {"None", "a truth value", "a whole number",
        "a long number", "a number", "a string", "a tuple", "a list", "a dict",
        "a global name", "a tensor", "a storage"};
    return v ? names[v->kind] : "nothing";
}
