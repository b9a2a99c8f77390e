/* nixlang/error.h: errors: owned, immutable, readable from any thread. */
#ifndef NIXLANG_NIXLANG_ERROR_H
#define NIXLANG_NIXLANG_ERROR_H

#include "base.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct nixlang_error nixlang_error;

/* What went wrong, for programs. Numbers are never used for something else. */
typedef enum nixlang_code {
    NIXLANG_OK = 0,
    NIXLANG_EVALUATION = 1, /* an evaluation failed in a way that has no number of its own */
    NIXLANG_SYNTAX = 2,
    NIXLANG_THROW = 3,
    NIXLANG_ABORT = 4,
    NIXLANG_ASSERTION = 5,
    NIXLANG_TYPE = 6,
    NIXLANG_MISSING_ATTRIBUTE = 7,
    NIXLANG_UNDEFINED_VARIABLE = 8,
    NIXLANG_INFINITE_RECURSION = 9,
    NIXLANG_STACK_OVERFLOW = 10,
    NIXLANG_STEP_LIMIT = 11, /* the four budgets; nothing remembers such an error, so the same call may succeed with a larger one */
    NIXLANG_HEAP_LIMIT = 12,
    NIXLANG_TIME_LIMIT = 13,
    NIXLANG_CANCELLED = 14,
    NIXLANG_RESTRICTED = 15,  /* this mode of evaluation forbids it */
    NIXLANG_UNSUPPORTED = 16, /* the library or the host cannot do it */
    NIXLANG_HOST = 17,        /* a callback failed, or files or environment did */
    NIXLANG_RECOVERABLE = 18, /* from a callback: may succeed another time, so the thunk does not remember it */
    NIXLANG_STORE = 19,
    NIXLANG_BUILD = 20,
    NIXLANG_ARGUMENT = 21, /* the call itself is wrong */
    NIXLANG_INTERNAL = 22  /* a bug of the library */
} nixlang_code;

/* A place in a source. Line 0: not known. Columns count bytes, from 1. */
typedef struct nixlang_place {
    nixlang_string file; /* a path, or a word such as «string» */
    uint32_t line;
    uint32_t column;
} nixlang_place;

/* A step on the way to an error. */
typedef struct nixlang_frame {
    nixlang_string message;
    nixlang_place place;
    bool always; /* part of short traces too */
} nixlang_frame;

/* Returns an error, for a callback to return. */
nixlang_error *nixlang_error_new(nixlang_code code, nixlang_string message);
void nixlang_error_free(nixlang_error *error);

/* Return what the error is, without allocating. NULL gives NIXLANG_OK and empty strings. */
nixlang_code nixlang_error_code(const nixlang_error *error);
nixlang_string nixlang_error_message(const nixlang_error *error);
nixlang_place nixlang_error_place(const nixlang_error *error);
/* The way to the error, outermost step first. nixlang_error_frame returns false past the end. */
size_t nixlang_error_frame_count(const nixlang_error *error);
bool nixlang_error_frame(const nixlang_error *error, size_t index, nixlang_frame *frame);
/* Names that may have been meant, best first; empty past the end. */
nixlang_string nixlang_error_suggestion(const nixlang_error *error, size_t index);

/* How an error is written: as Nix does, or with the error first and its source underlined. */
typedef enum nixlang_style { NIXLANG_STYLE_NIX = 0, NIXLANG_STYLE_RICH = 1 } nixlang_style;
/* Writes an error as text of several lines. */
nixlang_error *nixlang_error_render(const nixlang_error *error, nixlang_style style, bool show_trace, bool colour, nixlang_bytes *result);

#ifdef __cplusplus
}
#endif

#endif
