//! Strings, indented strings and paths, with what is interpolated into them.

use crate::syntax::kind::SyntaxKind;
use crate::syntax::parser::{Parser, Sink, Step};

use SyntaxKind as K;

impl<S: Sink> Parser<'_, S> {
    pub(super) fn string(&mut self) -> Step<u32> {
        let mut below = 0;
        self.start(K::StringNode);
        self.bump();
        loop {
            match self.current {
                K::StringContent => self.bump(),
                K::DollarBrace => below = below.max(self.interpolation()?),
                K::Quote => {
                    self.bump();
                    break;
                }
                _ => {
                    self.unexpected(&[K::Quote])?;
                    if self.at(K::Error) {
                        self.bump_as_error()?;
                        continue;
                    }
                    break;
                }
            }
        }
        self.finish(K::StringNode)?;
        self.height(below)
    }

    pub(super) fn ind_string(&mut self) -> Step<u32> {
        let mut below = 0;
        self.start(K::IndStringNode);
        self.bump();
        loop {
            match self.current {
                K::IndStringContent | K::IndStringEscape => self.bump(),
                K::DollarBrace => below = below.max(self.interpolation()?),
                K::IndStringClose => {
                    self.bump();
                    break;
                }
                _ => {
                    self.unexpected(&[K::IndStringContent, K::DollarBrace, K::IndStringClose])?;
                    if self.at(K::Error) {
                        self.bump_as_error()?;
                        continue;
                    }
                    break;
                }
            }
        }
        self.finish(K::IndStringNode)?;
        self.height(below)
    }

    pub(super) fn path(&mut self) -> Step<u32> {
        let mut below = 0;
        self.start(K::PathNode);
        self.bump();
        if self.at(K::PathContent) {
            self.bump();
            if !self.at(K::DollarBrace) {
                self.unexpected(&[K::DollarBrace])?;
            }
        }
        loop {
            match self.current {
                K::PathContent => self.bump(),
                K::DollarBrace => below = below.max(self.interpolation()?),
                K::PathEnd => {
                    self.bump();
                    break;
                }
                _ => {
                    self.unexpected(&[])?;
                    if self.at(K::Error) {
                        self.bump();
                    }
                    break;
                }
            }
        }
        self.finish(K::PathNode)?;
        self.height(below)
    }

    fn interpolation(&mut self) -> Step<u32> {
        self.start(K::Interpolation);
        self.bump();
        let below = self.expression()?;
        self.close(K::RightBrace, &[K::RightBrace])?;
        self.finish(K::Interpolation)?;
        self.height(below)
    }
}
