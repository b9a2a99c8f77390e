/* nix_api_fetchers.h: settings of fetchers.
 *
 * The names, prototypes and meaning of the Nix C API (2.34), provided by libnixlang. The wording is ours.
 *
 * Every function that takes a context resets its error first and puts its own there; it returns a code, or NULL, 0 or false. A NULL context drops
 * the error. Handles that were freed are refused with an error as long as their place is not used again.
 * Threads: everything may be called from any thread; calls that evaluate wait for each other. A context belongs to one thread at a time.
 */
#ifndef NIXLANG_NIX_API_FETCHERS_H
#define NIXLANG_NIX_API_FETCHERS_H

#include "nix_api_util.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct nix_fetchers_settings nix_fetchers_settings;

nix_fetchers_settings *nix_fetchers_settings_new(nix_c_context *context);
void nix_fetchers_settings_free(nix_fetchers_settings *settings);

#ifdef __cplusplus
}
#endif

#endif
