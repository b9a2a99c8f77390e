//! What is sent, piece by piece as the connection takes it.

use std::io::{self, Cursor, Read};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::wait::Progress;
use crate::transfer::{Body, open_part};

/// Size of a piece in bytes.
const PIECE: u64 = 64 * 1024;

/// A body on its way. Files are read on the runtime's threads, which is short work: they were just written.
pub(super) struct Upload {
    source: Box<dyn Read + Send + Sync>,
    left: u64,
    progress: Arc<Progress>,
}

impl Upload {
    pub(super) fn new(body: Body<'_>, progress: &Arc<Progress>) -> io::Result<Upload> {
        let left = body.size()?;
        let source: Box<dyn Read + Send + Sync> = match body {
            Body::Bytes(bytes) => Box::new(Cursor::new(bytes.to_vec())),
            Body::File(file) => Box::new(std::fs::File::open(file)?),
            Body::Part { file, start, size } => Box::new(open_part(file, start, size)?),
        };
        Ok(Upload { source, left, progress: Arc::clone(progress) })
    }
}

impl HttpBody for Upload {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.progress.moved();
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let mut piece = vec![0; usize::try_from(self.left.min(PIECE)).expect("a piece is small")];
        if let Err(error) = self.source.read_exact(&mut piece) {
            return Poll::Ready(Some(Err(error)));
        }
        self.left -= piece.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(piece.into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
