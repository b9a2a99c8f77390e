//! A host around another one: what it doesn't do itself is passed on. So a host that changes or watches a few things is a few methods.
//!
//! ```
//! use nixlang::eval::{EvalOptions, session};
//! use nixlang::host::{Host, HostLayer, MemoryHost};
//! use nixlang::source::Origin;
//!
//! /// Has a variable more than the host within.
//! struct WithUser(MemoryHost);
//!
//! impl HostLayer for WithUser {
//!     fn inner(&self) -> &dyn Host {
//!         &self.0
//!     }
//!
//!     fn env_var(&self, name: &[u8]) -> Option<Vec<u8>> {
//!         if name == b"USER" { Some(b"eva".to_vec()) } else { self.inner().env_var(name) }
//!     }
//! }
//!
//! let printed = session(|| Box::new(WithUser(MemoryHost::default())), EvalOptions::default(), |eval| {
//!     let value = eval.eval_text(b"builtins.getEnv \"USER\"", Origin::String, b"/")?;
//!     eval.print_plain(value)
//! })?;
//! assert_eq!(printed.expect("evaluates"), b"\"eva\"");
//! # Ok::<(), std::io::Error>(())
//! ```

use std::collections::BTreeSet;

use nixlang_store::derivation::Derivation;
use nixlang_store::input::{Attrs, Input};
use nixlang_store::path::{StoreDir, StorePath};

use super::*;

macro_rules! layer {
    ($( fn $name:ident(&self $(, $argument:ident: $type:ty)*) $(-> $result:ty)?; )*) => {
        /// See the module's page. Everything that is a layer is a [`Host`].
        pub trait HostLayer {
            /// Returns the host within.
            fn inner(&self) -> &dyn Host;
            $(
                #[doc = concat!("As [`Host::", stringify!($name), "`]; asks the host within.")]
                fn $name(&self $(, $argument: $type)*) $(-> $result)? {
                    self.inner().$name($($argument),*)
                }
            )*
        }

        impl<L: HostLayer> Host for L {
            $( fn $name(&self $(, $argument: $type)*) $(-> $result)? {
                HostLayer::$name(self $(, $argument)*)
            } )*
        }
    };
}

// Every method of `Host`, those with a default of their own too.
layer! {
    fn read_file(&self, path: &[u8]) -> HostResult<Vec<u8>>;
    fn read_dir(&self, path: &[u8]) -> HostResult<Vec<(Vec<u8>, Option<FileType>)>>;
    fn file_type(&self, path: &[u8]) -> HostResult<Option<FileType>>;
    fn read_link(&self, path: &[u8]) -> HostResult<Vec<u8>>;
    fn env_var(&self, name: &[u8]) -> Option<Vec<u8>>;
    fn current_time(&self) -> i64;
    fn now(&self) -> std::time::Instant;
    fn store_dir(&self) -> &StoreDir;
    fn add_source(&self, source: SourceToAdd<'_>) -> HostResult<StorePath>;
    fn add_text(&self, name: &str, contents: &[u8], references: &BTreeSet<StorePath>) -> HostResult<StorePath>;
    fn add_derivation(&self, derivation: &Derivation, path: &StorePath, contents: &[u8]) -> HostResult<()>;
    fn read_derivation(&self, path: &StorePath) -> HostResult<Derivation>;
    fn realise(&self, outputs: &[WantedOutput]) -> HostResult<Vec<StorePath>>;
    fn begin_realise(&self, outputs: &[WantedOutput]) -> HostResult<Option<Vec<StorePath>>>;
    fn await_realised(&self);
    fn ensure_path(&self, path: &StorePath) -> HostResult<()>;
    fn is_valid(&self, path: &StorePath) -> bool;
    fn closure(&self, path: &StorePath) -> HostResult<BTreeSet<StorePath>>;
    fn references(&self, path: &StorePath) -> HostResult<BTreeSet<StorePath>>;
    fn fetch(&self, request: &FetchRequest) -> HostResult<StorePath>;
    fn fetch_input(&self, input: &Input) -> HostResult<FetchedInput>;
    fn resolve_input(&self, input: &Input, only_fixed: bool) -> HostResult<(Input, Attrs)>;
    fn lock_file(&self, input: &Input, path: &str) -> HostResult<Option<LockFilePlace>>;
    fn write_lock_file(&self, input: &Input, path: &str, text: &[u8], commit_message: Option<&str>) -> HostResult<()>;
    fn write_file(&self, path: &str, text: &[u8]) -> HostResult<()>;
    fn missing_in_working_copy(&self, root: &str, path: &str) -> String;
    fn forget_fetched(&self);
    fn debug(&self, text: &str);
    fn check_address(&self, address: &str) -> HostResult<()>;
    fn fetch_search_path_entry(&self, entry: &str) -> HostResult<Option<Vec<u8>>>;
    fn check_closure_store(&self, address: &str) -> HostResult<()>;
    fn copy_closure(&self, address: &str, path: &StorePath) -> HostResult<()>;
    fn rewrite_closure(&self, address: &str, path: &StorePath) -> HostResult<StorePath>;
    fn is_content_addressed(&self, path: &StorePath) -> HostResult<bool>;
    fn message(&self, kind: Message, text: &str);
}
