//! Bindings into sets: attribute paths make nested sets, sets that meet are merged, and everything
//! else that meets is an error.
//!
//! The surprising thing: when two set literals meet, the second one's `rec` is forgotten, and its
//! bindings live by the first one's (<https://github.com/NixOS/nix/issues/9020>).

use super::build::Builder;
use super::error::LowerErrorKind;
use super::show::Show;
use super::tree::{Raw, RawAttr, RawDynamic, RawName, RawValue, Set, SetId};
use crate::source::Pos;
use crate::symbol::Symbol;
use crate::syntax::parser::Step;

impl<'a> Builder<'a, '_> {
    fn new_set(&mut self) -> (SetId, &'a Raw<'a>) {
        let id = SetId(self.sets.len() as u32);
        self.sets.push(Set::at(Pos::NONE, self.bump));
        (id, self.bump.alloc(Raw::Set(id)))
    }

    /// Adds `path = value;`, which stands at `pos`, to a set.
    pub(super) fn add_binding(
        &mut self,
        set: SetId,
        path: &'a [RawName<'a>],
        pos: Pos,
        value: &'a Raw<'a>,
    ) -> Step {
        let (last, outer) = path.split_last().expect("the grammar sends at least one name");
        let mut set = set;
        for (index, name) in outer.iter().enumerate() {
            set = match *name {
                RawName::Static(symbol, _) => match self.sets[set.0 as usize].find(symbol) {
                    Some(RawAttr { value: RawValue::Plain(Raw::Set(nested)), .. }) => *nested,
                    Some(other) => return self.duplicate(&path[..=index], pos, other.pos),
                    None => {
                        let (nested, raw) = self.new_set();
                        let value = RawValue::Plain(raw);
                        self.sets[set.0 as usize].push(RawAttr { symbol, pos, value });
                        nested
                    }
                },
                RawName::Dynamic(name, _) => {
                    let (nested, value) = self.new_set();
                    self.sets[set.0 as usize].dynamic.push(RawDynamic { name, value, pos });
                    nested
                }
            };
        }
        match *last {
            RawName::Static(symbol, _) => {
                let attr = RawAttr { symbol, pos, value: RawValue::Plain(value) };
                if self.sets[set.0 as usize].find(symbol).is_some() {
                    return self.add_attr(set, &mut path.to_vec(), attr);
                }
                self.sets[set.0 as usize].push(attr);
                set_name(value, symbol);
                Ok(())
            }
            RawName::Dynamic(name, _) => {
                self.sets[set.0 as usize].dynamic.push(RawDynamic { name, value, pos });
                Ok(())
            }
        }
    }

    /// Adds an attribute, merging sets. `path` is its path, for messages.
    fn add_attr(&mut self, set: SetId, path: &mut Vec<RawName<'a>>, attr: RawAttr<'a>) -> Step {
        let Some(existing) = self.sets[set.0 as usize].find(attr.symbol) else {
            self.sets[set.0 as usize].push(attr);
            if let RawValue::Plain(value) = attr.value {
                set_name(value, attr.symbol);
            }
            return Ok(());
        };
        let (&RawValue::Plain(Raw::Set(into)), &RawValue::Plain(Raw::Set(from))) =
            (&existing.value, &attr.value)
        else {
            return self.duplicate(path, attr.pos, existing.pos);
        };
        let empty = Set::at(Pos::NONE, self.bump);
        let mut from = std::mem::replace(&mut self.sets[from.0 as usize], empty);
        from.sort();
        let n_sources = self.sets[into.0 as usize].sources.len() as u32;
        for mut attr in from.attrs {
            if let RawValue::InheritedFrom(source) = &mut attr.value {
                *source += n_sources;
            }
            path.push(RawName::Static(attr.symbol, attr.pos));
            self.add_attr(*into, path, attr)?;
            path.pop();
        }
        let into = &mut self.sets[into.0 as usize];
        into.dynamic.append(&mut from.dynamic);
        into.sources.append(&mut from.sources);
        Ok(())
    }

    /// Adds a name of `inherit` or `inherit (source)`.
    pub(super) fn add_inherited(
        &mut self,
        set: SetId,
        symbol: Symbol,
        pos: Pos,
        source: Option<u32>,
    ) -> Step {
        if let Some(existing) = self.sets[set.0 as usize].find(symbol) {
            let path = [RawName::Static(symbol, pos)];
            return self.duplicate(&path, pos, existing.pos);
        }
        let value = source.map_or(RawValue::Inherited, RawValue::InheritedFrom);
        self.sets[set.0 as usize].push(RawAttr { symbol, pos, value });
        Ok(())
    }

    fn duplicate(&mut self, path: &[RawName<'a>], pos: Pos, previous: Pos) -> Step {
        let mut shown = Vec::new();
        Show::new(self.symbols, &self.sets).path(path, &mut shown);
        let path = String::from_utf8_lossy(&shown).into_owned();
        self.fail(LowerErrorKind::DuplicateAttribute { path, previous }, pos)
    }
}

/// Gives a function the name that it is bound to, and those that it returns directly as well.
fn set_name(value: &Raw<'_>, symbol: Symbol) {
    let mut value = value;
    while let Raw::Lambda(lambda) = value {
        lambda.name.set(Some(symbol));
        value = lambda.body;
    }
}
