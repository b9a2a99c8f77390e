//! Resolving: from a derivation whose inputs are outputs of derivations to one whose inputs are paths.
//!
//! The surprising part: this is where early cut-off happens. Two derivations whose inputs were made differently but came
//! out the same resolve to the same one, and if that is built already nothing is built. Fixed outputs are resolved too
//! where content-addressed derivations are allowed, as the reference does.
//!
//! Rules: `shouldResolve` and `tryResolve` in `derivations.cc` of the reference, 2.34.8.

use std::collections::HashMap;

use nixlang_store::derivation::{
    Derivation, DerivationOutput, DerivationType, InputOutputs, OutputName, Placeholder, StructuredAttrs,
};
use nixlang_store::path::{StoreDir, StorePath};

use super::environment::Rewrites;
use crate::error::BuildError;

/// Returns whether a derivation is resolved before it is built.
pub(crate) fn is_resolved_first(derivation: &Derivation, content_addressed: bool) -> bool {
    if derivation.input_derivations.is_empty() {
        return false;
    }
    let by_kind = match derivation.kind() {
        Ok(DerivationType::InputAddressed { deferred }) => deferred,
        Ok(DerivationType::ContentAddressed { fixed, .. }) => !fixed || content_addressed,
        Ok(DerivationType::Impure) => true,
        Err(_) => false,
    };
    by_kind || derivation.has_dynamic_inputs()
}

/// Returns the derivation with paths in place of its inputs and of their placeholders. `output` says which path an output
/// of a derivation at a path is.
///
/// # Errors
///
/// What `output` gives, and when the derivation makes no sense.
pub fn resolve(
    dir: &StoreDir,
    path: &StorePath,
    derivation: &Derivation,
    output: &dyn Fn(&StorePath, &OutputName) -> Result<StorePath, BuildError>,
) -> Result<(StorePath, Derivation), BuildError> {
    let reject = |reason: String| BuildError::Derivation { derivation: dir.display(path), reason };
    let mut resolved = derivation.clone();
    let mut rewrites = Rewrites::default();
    for (input, wanted) in std::mem::take(&mut resolved.input_derivations) {
        add_input(dir, &input, &wanted, None, output, &mut resolved, &mut rewrites)?;
    }
    resolved.builder = rewrites.apply(&resolved.builder);
    resolved.args = resolved.args.iter().map(|argument| rewrites.apply(argument)).collect();
    let env = std::mem::take(&mut resolved.env);
    resolved.env = env.into_iter().map(|(name, value)| (rewrites.apply(&name), rewrites.apply(&value))).collect();
    if let Some(attributes) = &resolved.structured_attrs {
        let text = rewrites.apply(attributes.as_text().as_bytes());
        resolved.structured_attrs = Some(StructuredAttrs::parse(&text).map_err(|error| reject(error.to_string()))?);
    }
    if resolved.outputs.values().any(|output| *output == DerivationOutput::Deferred) {
        let hash = resolved
            .hash_modulo(dir, true, &mut HashMap::new(), &mut |_| Err("a resolved derivation has no inputs".into()))
            .map_err(|error| reject(error.to_string()))?;
        let name = resolved.name.clone();
        for (output_name, output) in &mut resolved.outputs {
            let made = dir.output_path(output_name, &hash.hash, &name).map_err(|error| reject(error.to_string()))?;
            resolved.env.insert(output_name.as_bytes().to_vec(), dir.display(&made).into_bytes());
            *output = DerivationOutput::InputAddressed(made);
        }
    }
    let path = resolved.store_path(dir).map_err(|error| reject(error.to_string()))?;
    Ok((path, resolved))
}

/// Adds the outputs of one input. Nesting is bounded by the parser of derivations.
fn add_input(
    dir: &StoreDir,
    input: &StorePath,
    wanted: &InputOutputs,
    above: Option<Placeholder>,
    output: &dyn Fn(&StorePath, &OutputName) -> Result<StorePath, BuildError>,
    resolved: &mut Derivation,
    rewrites: &mut Rewrites,
) -> Result<(), BuildError> {
    let placeholder = |name: &OutputName| match above {
        Some(above) => above.output(name),
        None => Placeholder::content_addressed_output(input, name),
    };
    for name in &wanted.outputs {
        let made = output(input, name)?;
        rewrites.add(placeholder(name).to_string(), dir.display(&made));
        resolved.input_sources.insert(made);
    }
    for (name, wanted) in &wanted.dynamic {
        let made = output(input, name)?;
        add_input(dir, &made, wanted, Some(placeholder(name)), output, resolved, rewrites)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use nixlang_store::content_address::ContentAddressMethod;
    use nixlang_store::hash::Algorithm;

    use super::*;

    fn floating(name: &str) -> Derivation {
        let output = DerivationOutput::Floating { method: ContentAddressMethod::Nar, algorithm: Algorithm::Sha256 };
        Derivation {
            name: name.into(),
            outputs: [("out".into(), output)].into(),
            system: b"x86_64-linux".to_vec(),
            builder: b"/bin/sh".to_vec(),
            ..Derivation::default()
        }
    }

    #[test]
    fn equal_inputs_resolve_to_one_derivation() {
        let dir = StoreDir::default();
        let made = StorePath::new([9; 20], "input").unwrap();
        let resolve_with = |input: [u8; 20]| {
            let input = StorePath::new(input, "input.drv").unwrap();
            let placeholder = Placeholder::content_addressed_output(&input, "out").to_string();
            let mut derivation = floating("x");
            derivation.args = vec![format!("{placeholder}/bin").into_bytes()];
            derivation.input_derivations.insert(input, InputOutputs::plain(["out"]));
            assert!(is_resolved_first(&derivation, true));
            resolve(&dir, &made, &derivation, &|_, _| Ok(made.clone())).unwrap()
        };
        let (one, derivation) = resolve_with([1; 20]);
        let (two, _) = resolve_with([2; 20]);
        assert_eq!(one, two);
        assert_eq!(derivation.args, [format!("{}/bin", dir.display(&made)).into_bytes()]);
        assert!(derivation.input_sources.contains(&made) && derivation.input_derivations.is_empty());
    }

    #[test]
    fn deferred_outputs_get_their_paths() {
        let dir = StoreDir::default();
        let input = StorePath::new([1; 20], "input.drv").unwrap();
        let made = StorePath::new([9; 20], "input").unwrap();
        let mut derivation = floating("x");
        derivation.outputs.insert("out".into(), DerivationOutput::Deferred);
        derivation.input_derivations.insert(input, InputOutputs::plain(["out"]));
        let (_, resolved) = resolve(&dir, &made, &derivation, &|_, _| Ok(made.clone())).unwrap();
        let DerivationOutput::InputAddressed(path) = &resolved.outputs["out"] else { panic!("{resolved:?}") };
        assert_eq!(resolved.env[&b"out"[..]], dir.display(path).into_bytes());
        assert!(!is_resolved_first(&resolved, true));
    }
}
