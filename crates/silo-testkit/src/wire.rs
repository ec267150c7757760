//! A wire between a client and a server that can be cut, or that tells when so many bytes have come through it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A wire. Dropping it cuts it.
pub struct Wire {
    address: SocketAddr,
    state: Arc<State>,
    task: JoinHandle<()>,
}

struct State {
    bytes: AtomicU64,
    /// At so many bytes it is cut.
    cut_at: AtomicU64,
    told: watch::Sender<bool>,
}

impl Wire {
    /// A wire to a server; nothing cuts it yet.
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn start(target: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let state = Arc::new(State {
            bytes: AtomicU64::new(0),
            cut_at: AtomicU64::new(u64::MAX),
            told: watch::Sender::new(false),
        });
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let state = Arc::clone(&shared);
                // A connection that breaks is what this is for.
                tokio::spawn(async move { drop(connect(client, target, &state).await) });
            }
        });
        Ok(Self {
            address,
            state,
            task,
        })
    }

    /// Where it begins.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many bytes have come through it, both ways.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.state.bytes.load(Ordering::SeqCst)
    }

    /// Counts from nothing again, and cuts the wire at so many bytes.
    pub fn cut_at(&self, bytes: u64) {
        self.state.told.send_replace(false);
        self.state.bytes.store(0, Ordering::SeqCst);
        self.state.cut_at.store(bytes, Ordering::SeqCst);
    }

    /// Counts from nothing again, and lets everything through.
    pub fn mend(&self) {
        self.cut_at(u64::MAX);
    }

    /// Waits until it has been cut.
    pub async fn cut(&self) {
        // This holds the sender itself.
        drop(self.state.told.subscribe().wait_for(|cut| *cut).await);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.task.abort();
        self.state.told.send_replace(true);
    }
}

async fn connect(client: TcpStream, target: SocketAddr, state: &State) -> io::Result<()> {
    let mut cut = state.told.subscribe();
    if *cut.borrow() {
        return Ok(());
    }
    let server = TcpStream::connect(target).await?;
    let ((from_client, to_client), (from_server, to_server)) =
        (client.into_split(), server.into_split());
    tokio::select! {
        _ = cut.wait_for(|cut| *cut) => Ok(()),
        both = async { tokio::try_join!(pass(from_client, to_server, state), pass(from_server, to_client, state)) } => both.map(drop),
    }
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    state: &State,
) -> io::Result<()> {
    let mut piece = vec![0; 16 * 1024];
    loop {
        let read = from.read(&mut piece).await?;
        if read == 0 {
            return to.shutdown().await;
        }
        let so_far = state.bytes.fetch_add(read as u64, Ordering::SeqCst) + read as u64;
        if so_far >= state.cut_at.load(Ordering::SeqCst) {
            state.told.send_replace(true);
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        to.write_all(&piece[..read]).await?;
    }
}
