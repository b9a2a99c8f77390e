//! Source text to tokens and nodes.
//!
//! Bytes go through the lexer ([`lexer`]), and its tokens through one grammar ([`grammar`]), which
//! tells a [`parser::Sink`] what it finds. Evaluation builds its own compact tree from that; the
//! lossless tree for tools is another sink.

pub mod ast;
pub mod error;
pub mod explain;
pub mod grammar;
pub mod kind;
pub mod lexer;
pub mod parser;
pub mod ptr;
pub mod text;
pub mod tree;
pub mod validation;
