//! Builds without isolation, by an explicit setting only; the result then says [`Isolation::None`].
//!
//! Without namespaces a build sees the machine's own paths, so this works only in a store whose real directory is the
//! logical one: in a rooted store a builder would write to a `/nix/store` that is not this store.
//!
//! [`Isolation::None`]: super::Isolation::None

use std::path::Path;

/// Returns why builds without a sandbox can't work in this store, if so.
pub fn obstacle(store_dir: &Path, real_store_dir: &Path) -> Option<String> {
    if store_dir != real_store_dir {
        return Some(format!(
            "the store '{}' is really at '{}', which only a sandbox can show to a builder",
            store_dir.display(),
            real_store_dir.display()
        ));
    }
    let home = Path::new("/homeless-shelter");
    if home.symlink_metadata().is_ok() {
        return Some(format!(
            "home directory '{}' exists; please remove it to assure purity of builds without sandboxing",
            home.display()
        ));
    }
    None
}
