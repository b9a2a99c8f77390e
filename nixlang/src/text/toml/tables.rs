//! Which tables a text may open and extend: every `[header]`, `[[header]]` and dotted key goes through here.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::TomlValue;
use super::error::{Reporter, Span, TomlError};

/// A value while the text is being read, with the place that made it.
pub(super) struct Item {
    pub(super) node: Node,
    pub(super) span: Span,
}

pub(super) enum Node {
    Scalar(TomlValue),
    /// Written in brackets, and closed with them.
    Array(Vec<Item>),
    /// Made by `[[headers]]`.
    Tables(Vec<Item>),
    Table(Table),
}

pub(super) struct Table {
    kind: TableKind,
    members: BTreeMap<Vec<u8>, Item>,
}

/// How a table came to be, which decides how it may be extended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum TableKind {
    /// Named on the way to another by a header.
    Implicit,
    /// Named by a header.
    Header,
    /// Named on the way to a value by a dotted key.
    Dotted,
    /// Written in braces, and closed with them.
    Inline,
}

/// The names of a dotted key, and where it stands.
pub(super) struct Key {
    pub(super) names: Vec<Vec<u8>>,
    pub(super) span: Span,
}

impl Table {
    pub(super) fn new(kind: TableKind) -> Table {
        Table {
            kind,
            members: BTreeMap::new(),
        }
    }

    fn is_inline(&self) -> bool {
        self.kind == TableKind::Inline
    }

    /// Makes `[key]`, or `[[key]]` if `is_array`; returns the table that the following lines go to.
    pub(super) fn open(&mut self, key: Key, is_array: bool, report: Reporter<'_>) -> Result<&mut Table, TomlError> {
        let span = key.span;
        let mut names = key.names;
        let last = names.pop().expect("a key has at least one name");
        let mut table = self;
        for name in names {
            let item = table.members.entry(name).or_insert_with(|| Item {
                node: Node::Table(Table::new(TableKind::Implicit)),
                span,
            });
            let is_closed = match &item.node {
                Node::Table(inner) => inner.is_inline(),
                Node::Tables(_) => false,
                _ => true,
            };
            if is_closed {
                return Err(blocked(&item.node, span, item.span, report));
            }
            table = match &mut item.node {
                Node::Table(inner) => inner,
                Node::Tables(tables) => last_table(tables),
                _ => unreachable!("anything else is closed"),
            };
        }
        match table.members.entry(last) {
            Entry::Vacant(entry) => {
                let new = Item {
                    node: Node::Table(Table::new(TableKind::Header)),
                    span,
                };
                if !is_array {
                    return Ok(match &mut entry.insert(new).node {
                        Node::Table(table) => table,
                        _ => unreachable!("a table was inserted"),
                    });
                }
                let item = entry.insert(Item {
                    node: Node::Tables(vec![new]),
                    span,
                });
                Ok(match &mut item.node {
                    Node::Tables(tables) => last_table(tables),
                    _ => unreachable!("tables were inserted"),
                })
            }
            Entry::Occupied(entry) => {
                let item = entry.into_mut();
                let old = item.span;
                match &mut item.node {
                    Node::Tables(tables) if is_array => {
                        tables.push(Item {
                            node: Node::Table(Table::new(TableKind::Header)),
                            span,
                        });
                        Ok(last_table(tables))
                    }
                    Node::Table(table) if !is_array && table.kind == TableKind::Implicit => {
                        table.kind = TableKind::Header;
                        item.span = span;
                        Ok(table)
                    }
                    Node::Array(items) if is_array && is_inline_tables(items) => Err(report.error(
                        "toml::insert_value: failed to insert a table, inline array of tables is immutable",
                        &[(span, "while inserting this"), (old, "this is inline array-of-tables")],
                        &[],
                    )),
                    _ if is_array => Err(report.error(
                        "toml::insert_value: failed to insert an array of tables, value already exists",
                        &[(span, "while inserting this"), (old, "non-table value already exists")],
                        &[],
                    )),
                    _ => Err(report.error(
                        "toml::insert_value: failed to insert a table, table already defined",
                        &[(span, "inserting this"), (old, "this table is explicitly defined")],
                        &[],
                    )),
                }
            }
        }
    }

    /// Makes `key = value`.
    pub(super) fn insert(&mut self, key: Key, value: Item, report: Reporter<'_>) -> Result<(), TomlError> {
        let span = key.span;
        let mut names = key.names;
        let last = names.pop().expect("a key has at least one name");
        let mut table = self;
        for name in names {
            let item = table.members.entry(name).or_insert_with(|| Item {
                node: Node::Table(Table::new(TableKind::Dotted)),
                span,
            });
            let kind = match &item.node {
                Node::Table(inner) => Some(inner.kind),
                _ => None,
            };
            if let Some(TableKind::Implicit | TableKind::Header) = kind {
                return Err(report.error(
                    "toml::insert_value: reopening a table using dotted keys",
                    &[(span, "dotted key cannot reopen a table"), (item.span, "this table is already closed")],
                    &[],
                ));
            }
            if kind != Some(TableKind::Dotted) {
                return Err(blocked(&item.node, span, item.span, report));
            }
            table = match &mut item.node {
                Node::Table(inner) => inner,
                _ => unreachable!("anything else is blocked"),
            };
        }
        match table.members.entry(last) {
            Entry::Vacant(entry) => {
                entry.insert(value);
                Ok(())
            }
            Entry::Occupied(entry) => Err(report.error(
                "toml::insert_value: failed to insert a value, value already exists",
                &[(span, "inserting this"), (entry.get().span, "but value already exists")],
                &[],
            )),
        }
    }
}

/// Why nothing can be put into `node`, which is no open table.
fn blocked(node: &Node, new: Span, old: Span, report: Reporter<'_>) -> TomlError {
    match node {
        Node::Table(_) => report.error(
            "toml::insert_value: failed to insert a value: inline table is immutable",
            &[(new, "inserting this"), (old, "to this table")],
            &[],
        ),
        Node::Array(items) if is_inline_tables(items) => report.error(
            "toml::insert_value:inline array of tables are immutable",
            &[(new, "inserting this"), (old, "inline array of tables")],
            &[],
        ),
        _ => report.error(
            "toml::insert_value: failed to insert a value, value already exists",
            &[(new, "while inserting this"), (old, "non-table value already exists")],
            &[],
        ),
    }
}

fn is_inline_tables(items: &[Item]) -> bool {
    !items.is_empty() && items.iter().all(|item| matches!(item.node, Node::Table(_)))
}

fn last_table(tables: &mut [Item]) -> &mut Table {
    match tables.last_mut() {
        Some(Item { node: Node::Table(table), .. }) => table,
        _ => unreachable!("an array of tables has a table at its end from the start"),
    }
}

/// Strips what only the parser needs. Recurses; the parser limits the depth.
pub(super) fn into_value(node: Node, timestamps: bool) -> Result<TomlValue, TomlError> {
    Ok(match node {
        Node::Scalar(TomlValue::Timestamp(_)) if !timestamps => return Err(TomlError::Timestamp),
        Node::Scalar(TomlValue::String(text)) => TomlValue::String(without_nul(text)?),
        Node::Scalar(value) => value,
        Node::Array(items) | Node::Tables(items) => {
            let values: Result<_, _> = items.into_iter().map(|item| into_value(item.node, timestamps)).collect();
            TomlValue::Array(values?)
        }
        Node::Table(table) => {
            let members: Result<_, _> = table
                .members
                .into_iter()
                .map(|(name, item)| Ok((without_nul(name)?, into_value(item.node, timestamps)?)))
                .collect();
            TomlValue::Table(members?)
        }
    })
}

fn without_nul(text: Vec<u8>) -> Result<Vec<u8>, TomlError> {
    if memchr::memchr(0, &text).is_some() {
        return Err(TomlError::NullByte { text });
    }
    Ok(text)
}
