/* nix_api_main.h: what a program does when it starts.
 *
 * The names, prototypes and meaning of the Nix C API (2.34), provided by libnixlang. The wording is ours.
 *
 * Every function that takes a context resets its error first and puts its own there; it returns a code, or NULL, 0 or false. A NULL context drops
 * the error. Handles that were freed are refused with an error as long as their place is not used again.
 * Threads: everything may be called from any thread; calls that evaluate wait for each other. A context belongs to one thread at a time.
 */
#ifndef NIXLANG_NIX_API_MAIN_H
#define NIXLANG_NIX_API_MAIN_H

#include "nix_api_util.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Loads the plugins that the setting plugin-files names, files or directories of them, and calls nix_plugin_entry of each. Those that are written in C++ cannot be
 * loaded: they need the libraries of the reference. */
nix_err nix_init_plugins(nix_c_context *context);
/* Accepts the reference's words: "raw", "internal-json", "bar" and so on. */
nix_err nix_set_log_format(nix_c_context *context, const char *format);

#ifdef __cplusplus
}
#endif

#endif
