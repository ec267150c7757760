//! A TCP forwarder between a client and a server that can be cut, counts bytes, and can be closed and opened again.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// An address of the loopback interface that refuses connections as long as this process runs: its port is bound, but not listening.
///
/// # Errors
/// When no port is free.
pub fn refusing_address() -> io::Result<SocketAddr> {
    let socket = tokio::net::TcpSocket::new_v4()?;
    socket.bind((std::net::Ipv4Addr::LOCALHOST, 0).into())?;
    let address = socket.local_addr()?;
    // Closing the socket would free the port.
    std::mem::forget(socket);
    Ok(address)
}

/// A TCP forwarder. Dropping it closes it.
pub struct Wire {
    address: SocketAddr,
    target: SocketAddr,
    state: Arc<State>,
    task: Mutex<JoinHandle<()>>,
}

struct State {
    count: Mutex<Count>,
    /// `true` while the connection is cut. Changes under the lock of `count`: the end of an old connection does not cut after a restoration.
    is_cut: watch::Sender<bool>,
}

struct Count {
    /// Bytes that were forwarded, both ways.
    bytes: u64,
    /// Connections are cut at this number of bytes.
    cut_at: u64,
}

impl State {
    fn count(&self) -> MutexGuard<'_, Count> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts bytes, and cuts if these are enough.
    fn is_cut_by(&self, read: usize) -> bool {
        let mut count = self.count();
        count.bytes += read as u64;
        let is_cut = count.bytes >= count.cut_at;
        if is_cut {
            self.is_cut.send_replace(true);
        }
        is_cut
    }
}

impl Wire {
    /// Listens on a free port and forwards to a server.
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn start(target: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let state = Arc::new(State {
            count: Mutex::new(Count {
                bytes: 0,
                cut_at: u64::MAX,
            }),
            is_cut: watch::Sender::new(false),
        });
        let task = Mutex::new(forward(listener, target, Arc::clone(&state)));
        Ok(Self {
            address,
            target,
            state,
            task,
        })
    }

    /// The address that clients connect to.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Number of bytes that were forwarded, both ways.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.state.count().bytes
    }

    /// Sets the count to 0, and cuts all connections when it reaches `bytes`; after that, new ones are closed at once.
    pub fn cut_at(&self, bytes: u64) {
        let mut count = self.state.count();
        *count = Count {
            bytes: 0,
            cut_at: bytes,
        };
        self.state.is_cut.send_replace(false);
    }

    /// Sets the count to 0, and forwards everything again.
    pub fn restore(&self) {
        self.cut_at(u64::MAX);
    }

    /// Waits until it is cut.
    pub async fn cut(&self) {
        // This holds the sender itself.
        drop(self.state.is_cut.subscribe().wait_for(|cut| *cut).await);
    }

    /// Cuts all connections and refuses new ones, as if no process listened.
    pub fn close(&self) {
        self.task
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .abort();
        self.state.is_cut.send_replace(true);
    }

    /// Listens again, on the same port.
    ///
    /// # Errors
    /// When another process has taken the port.
    pub async fn open(&self) -> io::Result<()> {
        let listener = TcpListener::bind(self.address).await?;
        self.restore();
        let task = forward(listener, self.target, Arc::clone(&self.state));
        *self.task.lock().unwrap_or_else(PoisonError::into_inner) = task;
        Ok(())
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.close();
    }
}

fn forward(listener: TcpListener, target: SocketAddr, state: Arc<State>) -> JoinHandle<()> {
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let state = Arc::clone(&state);
            // A connection that breaks is what this is for.
            tokio::spawn(async move { drop(connect(client, target, &state).await) });
        }
    })
}

async fn connect(client: TcpStream, target: SocketAddr, state: &State) -> io::Result<()> {
    let mut cut = state.is_cut.subscribe();
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
        if state.is_cut_by(read) {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        to.write_all(&piece[..read]).await?;
    }
}
