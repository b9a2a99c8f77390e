//! One walk over the tree, with the scopes around.

use rustc_hash::{FxHashMap, FxHashSet};

use super::{Definition, DefinitionKind, Meaning, Names, Use};
use crate::syntax::ast::{AstNode, AstToken, Attr, AttrSet, Entry, Ident, Lambda, LegacyLet, LetIn, Param, Variable, WithExpr};
use crate::syntax::kind::SyntaxKind;
use crate::syntax::tree::{SyntaxNode, TextRange};

pub(super) fn collect(root: &SyntaxNode) -> Names {
    let mut collector = Collector { names: Names::default(), scopes: Vec::new(), globals: globals() };
    collector.node(root);
    let mut names = collector.names;
    names.uses.sort_by_key(|it| it.range.start);
    names
}

/// Returns the names of all global variables, whatever features are on.
fn globals() -> FxHashSet<String> {
    let mut names: FxHashSet<String> = ["true", "false", "null", "builtins", "derivation", "__curPos"].map(str::to_owned).into_iter().collect();
    names.extend(["currentTime", "currentSystem", "nixVersion", "storeDir", "langVersion", "nixPath"].map(|name| format!("__{name}")));
    names.extend(crate::builtins::definitions().map(|it| if it.global { it.name.to_owned() } else { format!("__{}", it.name) }));
    names
}

enum Scope {
    Names(FxHashMap<String, usize>),
    With(TextRange),
}

struct Collector {
    names: Names,
    scopes: Vec<Scope>,
    globals: FxHashSet<String>,
}

impl Collector {
    fn node(&mut self, node: &SyntaxNode) {
        match node.kind() {
            SyntaxKind::Variable => {
                if let Some(ident) = Variable::cast(node.clone()).and_then(|variable| variable.ident()) {
                    self.uses(&ident, false);
                }
            }
            SyntaxKind::Lambda => self.lambda(node),
            SyntaxKind::LetIn => {
                let Some(it) = LetIn::cast(node.clone()) else { return };
                self.bindings(it.entries(), Some(DefinitionKind::Let));
                if let Some(body) = it.body() {
                    self.node(body.syntax());
                }
                self.scopes.pop();
            }
            SyntaxKind::LegacyLet => {
                let Some(it) = LegacyLet::cast(node.clone()) else { return };
                self.bindings(it.entries(), Some(DefinitionKind::Attribute));
                self.scopes.pop();
            }
            SyntaxKind::AttrSet => {
                let Some(it) = AttrSet::cast(node.clone()) else { return };
                let kind = it.rec_token().map(|_| DefinitionKind::Attribute);
                self.bindings(it.entries(), kind);
                if kind.is_some() {
                    self.scopes.pop();
                }
            }
            SyntaxKind::WithExpr => {
                let Some(it) = WithExpr::cast(node.clone()) else { return };
                if let Some(scope) = it.scope() {
                    self.node(scope.syntax());
                }
                self.scopes.push(Scope::With(node.text_range()));
                if let Some(body) = it.body() {
                    self.node(body.syntax());
                }
                self.scopes.pop();
            }
            _ => {
                for child in node.children() {
                    self.node(&child);
                }
            }
        }
    }

    fn lambda(&mut self, node: &SyntaxNode) {
        let Some(lambda) = Lambda::cast(node.clone()) else { return };
        let mut scope = FxHashMap::default();
        let mut defaults = Vec::new();
        match lambda.param() {
            Some(Param::Ident(param)) => self.parameter(&mut scope, param.ident(), DefinitionKind::Parameter),
            Some(Param::Pattern(pattern)) => {
                self.parameter(&mut scope, pattern.bind().and_then(|bind| bind.ident()), DefinitionKind::Whole);
                for entry in pattern.entries() {
                    self.parameter(&mut scope, entry.ident(), DefinitionKind::Formal);
                    defaults.extend(entry.default());
                }
            }
            None => {}
        }
        self.scopes.push(Scope::Names(scope));
        for default in defaults {
            self.node(default.syntax());
        }
        if let Some(body) = lambda.body() {
            self.node(body.syntax());
        }
        self.scopes.pop();
    }

    fn parameter(&mut self, scope: &mut FxHashMap<String, usize>, ident: Option<Ident>, kind: DefinitionKind) {
        if let Some(ident) = ident {
            self.define(scope, ident.text(), ident.syntax().text_range(), kind, false);
        }
    }

    /// Walks the entries of a set. If they define variables (of this kind), their scope is left open for a body.
    fn bindings(&mut self, entries: impl Iterator<Item = Entry>, kind: Option<DefinitionKind>) {
        let entries: Vec<Entry> = entries.collect();
        // What is inherited without a source comes from outside.
        for entry in &entries {
            if let Entry::Inherit(inherit) = entry
                && inherit.from().is_none()
            {
                for ident in inherit.attrs().filter_map(ident_of) {
                    self.uses(&ident, true);
                }
            }
        }
        if let Some(kind) = kind {
            let mut scope = FxHashMap::default();
            for entry in &entries {
                let (attrs, is_inherited): (Vec<Attr>, bool) = match entry {
                    Entry::Binding(binding) => (binding.attr_path().and_then(|path| path.attrs().next()).into_iter().collect(), false),
                    Entry::Inherit(inherit) => (inherit.attrs().collect(), true),
                };
                for attr in attrs {
                    if let Some(name) = attr.static_name() {
                        self.define(&mut scope, &name, attr.syntax().text_range(), kind, is_inherited);
                    }
                }
            }
            self.scopes.push(Scope::Names(scope));
        }
        for entry in &entries {
            match entry {
                Entry::Binding(binding) => binding.syntax().children().for_each(|child| self.node(&child)),
                Entry::Inherit(inherit) => {
                    if let Some(source) = inherit.from().and_then(|from| from.expr()) {
                        self.node(source.syntax());
                    }
                }
            }
        }
    }

    fn define(&mut self, scope: &mut FxHashMap<String, usize>, name: &str, site: TextRange, kind: DefinitionKind, is_inherited: bool) {
        let definitions = &mut self.names.definitions;
        let index = *scope.entry(name.to_owned()).or_insert_with(|| {
            definitions.push(Definition { name: name.to_owned(), kind, sites: Vec::new(), is_inherited: false });
            definitions.len() - 1
        });
        definitions[index].sites.push(site);
        definitions[index].is_inherited |= is_inherited;
    }

    fn uses(&mut self, ident: &Ident, is_inherited: bool) {
        let name = ident.text();
        let meaning = self.meaning(name);
        self.names.uses.push(Use { name: name.to_owned(), range: ident.syntax().text_range(), is_inherited, meaning });
    }

    fn meaning(&self, name: &str) -> Meaning {
        let mut withs = Vec::new();
        for scope in self.scopes.iter().rev() {
            match scope {
                Scope::Names(names) => {
                    if let Some(index) = names.get(name) {
                        return Meaning::Definition(*index);
                    }
                }
                Scope::With(range) => withs.push(*range),
            }
        }
        if self.globals.contains(name) {
            Meaning::Global
        } else if withs.is_empty() {
            Meaning::Undefined
        } else {
            Meaning::With(withs)
        }
    }
}

fn ident_of(attr: Attr) -> Option<Ident> {
    match attr {
        Attr::Name(name) => name.ident(),
        _ => None,
    }
}
