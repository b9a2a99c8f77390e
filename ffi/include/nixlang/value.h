/* nixlang/value.h: values: reading, evaluating, exporting and making them. */
#ifndef NIXLANG_NIXLANG_VALUE_H
#define NIXLANG_NIXLANG_VALUE_H

#include "base.h"
#include "engine.h"
#include "error.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a value is, as far as it was evaluated. */
typedef enum nixlang_type {
    NIXLANG_NONE = 0, /* not a handle */
    NIXLANG_THUNK = 1,
    NIXLANG_NULL = 2,
    NIXLANG_BOOL = 3,
    NIXLANG_INT = 4,
    NIXLANG_FLOAT = 5,
    NIXLANG_STRING = 6,
    NIXLANG_PATH = 7,
    NIXLANG_LIST = 8,
    NIXLANG_ATTRS = 9,
    NIXLANG_FUNCTION = 10,
    NIXLANG_OBJECT = 11
} nixlang_type;

/* Counts one more owner and returns the value. */
nixlang_value *nixlang_value_retain(nixlang_value *value);
void nixlang_value_free(nixlang_value *value);

/* Read a value. They evaluate nothing, wait for nobody and allocate nothing; false: it is not (yet) of this type. Strings live as long as the engine. */
nixlang_type nixlang_value_type(const nixlang_value *value);
bool nixlang_value_bool(const nixlang_value *value, bool *result);
bool nixlang_value_int(const nixlang_value *value, int64_t *result);
bool nixlang_value_float(const nixlang_value *value, double *result);
bool nixlang_value_string(const nixlang_value *value, nixlang_string *result);
bool nixlang_value_path(const nixlang_value *value, nixlang_string *result);
/* Elements of a list or attributes of a set; 0 for everything else. */
size_t nixlang_value_length(const nixlang_value *value);

/* Return a part as it is, possibly a thunk; NULL if there is none. Attributes have the order of their names' bytes. */
nixlang_value *nixlang_value_element(const nixlang_value *list, size_t index);
nixlang_value *nixlang_value_attribute(const nixlang_value *set, nixlang_string name);
nixlang_value *nixlang_value_attribute_at(const nixlang_value *set, size_t index, nixlang_string *name /* or NULL */);

/* What a string refers to in the store. */
typedef enum nixlang_reference_kind {
    NIXLANG_REFERENCE_PATH = 0,       /* a store path */
    NIXLANG_REFERENCE_DERIVATION = 1, /* a derivation with everything that belongs to it */
    NIXLANG_REFERENCE_OUTPUT = 2      /* an output of a derivation */
} nixlang_reference_kind;
typedef struct nixlang_reference {
    nixlang_reference_kind kind;
    nixlang_string path;
    nixlang_string output; /* of NIXLANG_REFERENCE_OUTPUT */
} nixlang_reference;
size_t nixlang_value_reference_count(const nixlang_value *string);
bool nixlang_value_reference_at(const nixlang_value *string, size_t index, nixlang_reference *result);

/* An argument that a function takes by name. nixlang_value_formal_at returns false past the end, and for functions without. */
typedef struct nixlang_formal {
    nixlang_string name;
    bool has_default;
} nixlang_formal;
bool nixlang_value_formal_at(const nixlang_value *function, size_t index, nixlang_formal *result);

/* Evaluate a value until its outermost form is known, and all of it (cycles are fine). The handle then stands for the result. budget may be NULL. */
nixlang_error *nixlang_value_force(const nixlang_value *value, const nixlang_budget *budget);
nixlang_error *nixlang_value_force_deep(const nixlang_value *value, const nixlang_budget *budget);
/* Calls a function and evaluates the result. Fewer arguments than it takes give a function of the others. */
nixlang_error *nixlang_value_call(const nixlang_value *function, const nixlang_value *const *arguments, size_t n_arguments, const nixlang_budget *budget,
                                  nixlang_value **result);
/* Calls a function with what it wants of a set (or NULL); everything else is the result as it is. */
nixlang_error *nixlang_value_auto_call(const nixlang_value *function, const nixlang_value *arguments, const nixlang_budget *budget, nixlang_value **result);
/* Selects by a path of names and indices, such as "servers.0.name", and evaluates what is there. */
nixlang_error *nixlang_value_select(const nixlang_value *value, nixlang_string path, const nixlang_budget *budget, nixlang_value **result);
nixlang_error *nixlang_value_equal(const nixlang_value *a, const nixlang_value *b, const nixlang_budget *budget, bool *result);

/* Evaluates all of a value and writes it as JSON. Nothing is built or copied to the store. */
nixlang_error *nixlang_value_to_json(const nixlang_value *value, const nixlang_budget *budget, nixlang_bytes *result);
/* Writes a value as Nix does, evaluating nothing. */
nixlang_error *nixlang_value_print(const nixlang_value *value, const nixlang_budget *budget, nixlang_bytes *result);
/* Gives what is known of a function, as Markdown: how it is called and what its author says of it; no bytes for everything else. */
nixlang_error *nixlang_value_documentation(const nixlang_value *value, const nixlang_budget *budget, nixlang_bytes *result);
/* Gives the path of the .drv file of a derivation. */
nixlang_error *nixlang_value_derivation(const nixlang_value *value, const nixlang_budget *budget, nixlang_bytes *result);
/* Coerces a value to a string and builds what it refers to. */
nixlang_error *nixlang_value_realise(const nixlang_value *value, const nixlang_budget *budget, nixlang_bytes *result);

/* Make values. Contents are copied; values that go into others must be of the same engine. */
nixlang_error *nixlang_make_null(nixlang_engine *engine, nixlang_value **result);
nixlang_error *nixlang_make_bool(nixlang_engine *engine, bool value, nixlang_value **result);
nixlang_error *nixlang_make_int(nixlang_engine *engine, int64_t value, nixlang_value **result);
nixlang_error *nixlang_make_float(nixlang_engine *engine, double value, nixlang_value **result);
nixlang_error *nixlang_make_string(nixlang_engine *engine, nixlang_string text, const nixlang_reference *references, size_t n_references, nixlang_value **result);
nixlang_error *nixlang_make_path(nixlang_engine *engine, nixlang_string path, nixlang_value **result);
nixlang_error *nixlang_make_list(nixlang_engine *engine, const nixlang_value *const *elements, size_t n_elements, nixlang_value **result);
/* Of equal names the last stays. */
nixlang_error *nixlang_make_attrs(nixlang_engine *engine, const nixlang_string *names, const nixlang_value *const *values, size_t n_attributes,
                                  nixlang_value **result);
/* A call that is made when somebody needs its value. */
nixlang_error *nixlang_make_thunk(nixlang_engine *engine, const nixlang_value *function, const nixlang_value *argument, nixlang_value **result);

#ifdef __cplusplus
}
#endif

#endif
