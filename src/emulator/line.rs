//! A TCP line that can be cut while an answer is on it: for answers that are lost or torn.

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

const WHOLE: u8 = 0;
const TEARING: u8 = 1;
const CUT: u8 = 2;
const RESETTING: u8 = 3;

/// The handle by which an answer's maker cuts the line it will go out on.
#[derive(Clone, Default)]
pub(super) struct Line(Arc<AtomicU8>);

impl Line {
    /// Nothing more leaves.
    pub(super) fn cut(&self) {
        self.0.store(CUT, Ordering::Release);
    }

    /// Nothing more leaves, and the peer is told so at once (RST).
    pub(super) fn reset(&self) {
        self.0.store(RESETTING, Ordering::Release);
    }

    /// The next answer leaves without its last byte, then nothing more does.
    pub(super) fn tear(&self) {
        self.0.store(TEARING, Ordering::Release);
    }
}

/// Accepts lines that can be cut.
pub(super) struct Lines(pub(super) TcpListener);

/// One line with its stream.
pub(super) struct Stream {
    tcp: TcpStream,
    line: Line,
}

impl Listener for Lines {
    type Io = Stream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Stream, SocketAddr) {
        let (tcp, peer) = Listener::accept(&mut self.0).await;
        // Small answers must not wait for the peer's acknowledgement; without it they are only slower.
        let _ = tcp.set_nodelay(true);
        (Stream { tcp, line: Line::default() }, peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

impl Connected<IncomingStream<'_, Lines>> for Line {
    fn connect_info(stream: IncomingStream<'_, Lines>) -> Self {
        stream.io().line.clone()
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_read(context, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.line.0.load(Ordering::Acquire) {
            WHOLE => Pin::new(&mut self.tcp).poll_write(context, bytes),
            TEARING => {
                let short = &bytes[..bytes.len().saturating_sub(1)];
                let written = Pin::new(&mut self.tcp).poll_write(context, short);
                if written.is_ready() {
                    self.line.cut();
                }
                written
            }
            RESETTING => {
                // Where it fails the line ends in the usual way.
                let _ = self.tcp.set_zero_linger();
                Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
            }
            _ => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(context)
    }
}
