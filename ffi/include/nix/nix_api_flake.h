/* nix_api_flake.h: flakes.
 *
 * The names, prototypes and meaning of the Nix C API (2.34), provided by libnixlang. The wording is ours.
 *
 * Every function that takes a context resets its error first and puts its own there; it returns a code, or NULL, 0 or false. A NULL context drops
 * the error. Handles that were freed are refused with an error as long as their place is not used again.
 * Threads: everything may be called from any thread; calls that evaluate wait for each other. A context belongs to one thread at a time.
 */
#ifndef NIXLANG_NIX_API_FLAKE_H
#define NIXLANG_NIX_API_FLAKE_H

#include "nix_api_fetchers.h"
#include "nix_api_store.h"
#include "nix_api_util.h"
#include "nix_api_expr.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct nix_flake_settings nix_flake_settings;
typedef struct nix_flake_reference_parse_flags nix_flake_reference_parse_flags;
typedef struct nix_flake_reference nix_flake_reference;
typedef struct nix_flake_lock_flags nix_flake_lock_flags;
typedef struct nix_locked_flake nix_locked_flake;

nix_flake_settings *nix_flake_settings_new(nix_c_context *context);
void nix_flake_settings_free(nix_flake_settings *settings);
/* Gives the states of a builder builtins.getFlake and its kin. */
nix_err nix_flake_settings_add_to_eval_state_builder(nix_c_context *context, nix_flake_settings *settings, nix_eval_state_builder *builder);

nix_flake_reference_parse_flags *nix_flake_reference_parse_flags_new(nix_c_context *context, nix_flake_settings *settings);
void nix_flake_reference_parse_flags_free(nix_flake_reference_parse_flags *flags);
/* What relative references are relative to. */
nix_err nix_flake_reference_parse_flags_set_base_directory(nix_c_context *context, nix_flake_reference_parse_flags *flags, const char *baseDirectory,
                                                           size_t baseDirectoryLen);

/* Parses "reference#fragment". */
nix_err nix_flake_reference_and_fragment_from_string(nix_c_context *context, nix_fetchers_settings *fetchSettings, nix_flake_settings *flakeSettings,
                                                     nix_flake_reference_parse_flags *parseFlags, const char *str, size_t strLen,
                                                     nix_flake_reference **flakeReferenceOut, nix_get_string_callback fragmentCallback,
                                                     void *fragmentCallbackUserData);
void nix_flake_reference_free(nix_flake_reference *store);

nix_flake_lock_flags *nix_flake_lock_flags_new(nix_c_context *context, nix_flake_settings *settings);
void nix_flake_lock_flags_free(nix_flake_lock_flags *settings);
/* What happens when the lock file is not as it should be: an error; nothing is written; it is written. */
nix_err nix_flake_lock_flags_set_mode_check(nix_c_context *context, nix_flake_lock_flags *flags);
nix_err nix_flake_lock_flags_set_mode_virtual(nix_c_context *context, nix_flake_lock_flags *flags);
nix_err nix_flake_lock_flags_set_mode_write_as_needed(nix_c_context *context, nix_flake_lock_flags *flags);
/* Takes another flake for an input. */
nix_err nix_flake_lock_flags_add_input_override(nix_c_context *context, nix_flake_lock_flags *flags, const char *inputPath, nix_flake_reference *flakeRef);

nix_locked_flake *nix_flake_lock(nix_c_context *context, nix_fetchers_settings *fetchSettings, nix_flake_settings *settings, EvalState *eval_state,
                                 nix_flake_lock_flags *flags, nix_flake_reference *flake);
void nix_locked_flake_free(nix_locked_flake *locked_flake);
/* Returns the outputs, with one reference. */
nix_value *nix_locked_flake_get_output_attrs(nix_c_context *context, nix_flake_settings *settings, EvalState *evalState, nix_locked_flake *lockedFlake);

#ifdef __cplusplus
}
#endif

#endif
