/* nixlang/function.h: functions and objects of the host as values. */
#ifndef NIXLANG_NIXLANG_FUNCTION_H
#define NIXLANG_NIXLANG_FUNCTION_H

#include "base.h"
#include "engine.h"
#include "error.h"
#include "value.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A function of the host. Arguments are borrowed and may be thunks. It gives a value through result, whose ownership passes to the library, and returns NULL;
 * or it returns an error, whose ownership passes too and whose code and message become the evaluation's. */
typedef nixlang_error *(*nixlang_function)(void *data, nixlang_value *const *arguments, size_t n_arguments, nixlang_value **result);

/* Makes a function of 1 to 255 arguments. data is dropped with the engine. The function may be called on any thread that evaluates, one at a time. */
nixlang_error *nixlang_make_function(nixlang_engine *engine, nixlang_string name, size_t n_arguments, nixlang_function function, void *data,
                                     void (*drop)(void *data), nixlang_value **result);

/* Makes an opaque value that carries data, which is dropped with the engine. builtins.typeOf says type_name. */
nixlang_error *nixlang_make_object(nixlang_engine *engine, nixlang_string type_name, void *data, void (*drop)(void *data), nixlang_value **result);
/* Gives the data of an object of this type. */
bool nixlang_value_object(const nixlang_value *value, nixlang_string type_name, void **result);

#ifdef __cplusplus
}
#endif

#endif
