/* nixlang.h: the Nix language, its store and its builds, for C programs. This page and the ones that it includes are the manual.
 *
 * Threads      Every function may be called from any thread. An engine evaluates for one thread at a time, others wait; getters of values never wait.
 *              Two engines do not notice each other. There is no thread that the library starts, but for builds.
 * Ownership    What a function gives through its last pointer, and an error that it returns, belongs to the caller, who frees it with the function of its
 *              type: nixlang_value_free for nixlang_value and so on. Freeing NULL is fine. Handles that were freed are refused with an error, as long as
 *              their place is not used again. Values keep their engine alive, and engines their store.
 * Strings      are bytes with a length (nixlang_string). Those that the library lends have a NUL behind them unless it says otherwise, and live as long as
 *              the handle that they came from. What the caller lends is copied.
 * Errors       A function that can fail returns an error, NULL for success; results are untouched then. A bug in the library is NIXLANG_INTERNAL, never
 *              the end of the process.
 * Callbacks    run on the caller's thread and stack, within the call that needs them; they may call everything here. They must not throw C++ exceptions
 *              or jump out. `data` is given back as it is, and `drop(data)`, if there is one, is called once: when the last user is gone, or at once if
 *              the function that takes it fails.
 * Structures   that begin with `size` are initialised with their _INIT macro, so that they may grow.
 */
#ifndef NIXLANG_H
#define NIXLANG_H

#include "nixlang/base.h"
#include "nixlang/error.h"
#include "nixlang/engine.h"
#include "nixlang/value.h"
#include "nixlang/function.h"
#include "nixlang/syntax.h"
#include "nixlang/store.h"
#include "nixlang/host.h"
#include "nixlang/build.h"

#endif
