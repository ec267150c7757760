//! `mongod`, as far as Silo's containers need one where the real one cannot be had: reads the lines of `mongod.conf` that matter here,
//! asks for TLS, makes the administrator of new data as the official image does, reads its certificate again when it is told to, and
//! remembers the configuration of its replica set. Everything else is answered by the server of MongoDB's protocol behind it. It checks no
//! rights for what it answers itself.

#![expect(clippy::print_stderr, reason = "a program's log")]

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{ExitCode, Stdio};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use mongodb::Client;
use mongodb::bson::{Document, RawDocumentBuf, doc};
use openssl::ssl::{Ssl, SslAcceptor, SslFiletype, SslMethod, SslVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Mutex;
use tokio_openssl::SslStream;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Where the server behind listens.
const BEHIND: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 27018);
/// MongoDB's wire protocol: the header of a message, its place of the opcode, and the opcode of `OP_MSG`.
const HEADER: usize = 16;
const OP_MSG: i32 = 2013;
/// What is answered here, and where the configuration of the set is remembered.
const OWN: [&str; 4] = [
    "rotateCertificates",
    "replSetGetConfig",
    "replSetInitiate",
    "replSetReconfig",
];
const REPLICA_SET: &str = "/data/db/replica-set.bson";
/// The longest message.
const LONGEST: usize = 48_000_000;

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mongod: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().collect();
    let file = arguments
        .iter()
        .position(|argument| argument == "--config")
        .and_then(|at| arguments.get(at + 1));
    let config = Config::read(Path::new(file.ok_or("--config is missing")?))?;
    let key_file = config.get("keyFile")?;
    let mode = std::fs::metadata(key_file)?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(format!("permissions on {key_file} are too open").into());
    }
    let data = Path::new(config.get("dbPath")?).join("stand-in");
    let new = !data.exists();
    std::fs::create_dir_all(&data)?;
    if new {
        make_administrator(&data).await?;
    }
    let mut server = begin(&data, true).await?;
    let pem = config.get("certificateKeyFile")?.to_owned();
    let acceptor = Arc::new(RwLock::new(acceptor(&pem)?));
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 27017)).await?;
    eprintln!("mongod: waiting for connections on 27017");
    let (mut terminate, mut interrupt) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    loop {
        tokio::select! {
            taken = listener.accept() => {
                let (client, _) = taken?;
                let (acceptor, pem) = (Arc::clone(&acceptor), pem.clone());
                tokio::spawn(async move {
                    if let Err(error) = serve(client, &acceptor, &pem).await {
                        eprintln!("mongod: a connection ended: {error}");
                    }
                });
            }
            ended = server.wait() => return Err(format!("the server behind ended: {}", ended?).into()),
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    if let Some(id) = server
        .id()
        .and_then(|id| i32::try_from(id).ok())
        .and_then(rustix::process::Pid::from_raw)
    {
        rustix::process::kill_process(id, rustix::process::Signal::TERM)?;
    }
    server.wait().await?;
    eprintln!("mongod: stopped");
    Ok(())
}

/// `key: value` lines of the file, whatever they are below; the keys that matter here are there once.
struct Config(BTreeMap<String, String>);

impl Config {
    fn read(path: &Path) -> io::Result<Self> {
        let text = std::fs::read_to_string(path)?;
        let lines = text
            .lines()
            .filter(|line| !line.trim_start().starts_with('#'));
        let pairs = lines.filter_map(|line| line.trim().split_once(": "));
        Ok(Self(
            pairs
                .map(|(key, value)| (key.to_owned(), value.trim().to_owned()))
                .collect(),
        ))
    }

    fn get(&self, key: &str) -> Result<&str, String> {
        self.0
            .get(key)
            .map(String::as_str)
            .ok_or_else(|| format!("{key} is missing"))
    }
}

async fn begin(data: &Path, auth: bool) -> Result<Child, Failure> {
    let mut command = Command::new("secantusd-rs");
    command.args([
        "--host",
        "127.0.0.1",
        "--port",
        "27018",
        "--cache-size",
        "256M",
        "--log-file-max",
        "8MB",
        "--log-level",
        "WARNING",
        "--sync-on-commit",
    ]);
    command
        .arg("--storage-path")
        .arg(data)
        .current_dir(data)
        .stdout(Stdio::null())
        .kill_on_drop(true);
    if auth {
        command.arg("--auth");
    }
    let mut child = command.spawn()?;
    for _ in 0..300 {
        if TcpStream::connect(BEHIND).await.is_ok() {
            return Ok(child);
        }
        if let Some(status) = child.try_wait()? {
            return Err(format!("the server behind did not start: {status}").into());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err("the server behind did not come up".into())
}

/// As the official image does with `MONGO_INITDB_ROOT_USERNAME` and `MONGO_INITDB_ROOT_PASSWORD_FILE`.
async fn make_administrator(data: &Path) -> Result<(), Failure> {
    let name = std::env::var("MONGO_INITDB_ROOT_USERNAME")?;
    let password = std::fs::read_to_string(std::env::var("MONGO_INITDB_ROOT_PASSWORD_FILE")?)?;
    let mut server = begin(data, false).await?;
    let client = Client::with_uri_str("mongodb://127.0.0.1:27018/?directConnection=true").await?;
    let create = doc! { "createUser": name, "pwd": password.trim(), "roles": [{ "role": "root", "db": "admin" }] };
    client.database("admin").run_command(create).await?;
    client.shutdown().await;
    if let Some(id) = server
        .id()
        .and_then(|id| i32::try_from(id).ok())
        .and_then(rustix::process::Pid::from_raw)
    {
        rustix::process::kill_process(id, rustix::process::Signal::TERM)?;
    }
    server.wait().await?;
    Ok(())
}

fn acceptor(pem: &str) -> Result<SslAcceptor, Failure> {
    let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server())?;
    acceptor.set_min_proto_version(Some(SslVersion::TLS1_2))?;
    acceptor.set_private_key_file(pem, SslFiletype::PEM)?;
    acceptor.set_certificate_chain_file(pem)?;
    acceptor.check_private_key()?;
    Ok(acceptor.build())
}

async fn serve(client: TcpStream, shared: &RwLock<SslAcceptor>, pem: &str) -> Result<(), Failure> {
    let ssl = Ssl::new(
        shared
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .context(),
    )?;
    let mut client = SslStream::new(ssl, client)?;
    std::pin::Pin::new(&mut client).accept().await?;
    let (mut from_client, to_client) = tokio::io::split(client);
    let to_client = Arc::new(Mutex::new(to_client));
    let (mut from_server, mut to_server) = TcpStream::connect(BEHIND).await?.into_split();
    let answers = Arc::clone(&to_client);
    let answering = tokio::spawn(async move {
        while let Some(message) = read_message(&mut from_server).await? {
            answers.lock().await.write_all(&message).await?;
        }
        answers.lock().await.shutdown().await
    });
    while let Some(message) = read_message(&mut from_client).await? {
        let Some((name, command)) = own_command(&message) else {
            to_server.write_all(&message).await?;
            continue;
        };
        let answer = match name {
            "rotateCertificates" => match acceptor(pem) {
                Ok(new) => {
                    *shared.write().unwrap_or_else(PoisonError::into_inner) = new;
                    doc! { "ok": 1.0 }
                }
                Err(error) => refusal(140, "InvalidSSLConfiguration", &error.to_string()),
            },
            _ => replica_set(name, &command, Path::new(REPLICA_SET))?,
        };
        to_client
            .lock()
            .await
            .write_all(&answer_to(&message, &answer)?)
            .await?;
    }
    answering.abort();
    Ok(())
}

/// A whole message; `None` when the other side has ended.
async fn read_message(from: &mut (impl AsyncReadExt + Unpin)) -> io::Result<Option<Vec<u8>>> {
    let mut message = vec![0; 4];
    if let Err(error) = from.read_exact(&mut message).await {
        return if error.kind() == io::ErrorKind::UnexpectedEof {
            Ok(None)
        } else {
            Err(error)
        };
    }
    let length = number(&message, 0)
        .and_then(|length| usize::try_from(length).ok())
        .unwrap_or(0);
    if !(HEADER..=LONGEST).contains(&length) {
        return Err(io::Error::other("a message of no length"));
    }
    message.resize(length, 0);
    from.read_exact(&mut message[4..]).await?;
    Ok(Some(message))
}

fn number(bytes: &[u8], at: usize) -> Option<i32> {
    Some(i32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// A command that is answered here. After the header of an `OP_MSG` come flags, and a section of kind 0 with the command's document.
fn own_command(message: &[u8]) -> Option<(&'static str, Document)> {
    if number(message, 12) != Some(OP_MSG) || message.get(HEADER + 4) != Some(&0) {
        return None;
    }
    let rest = message.get(HEADER + 5..)?;
    // The name of its first element begins five bytes in.
    let name = OWN.into_iter().find(|name| {
        rest.get(5..5 + name.len()) == Some(name.as_bytes()) && rest.get(5 + name.len()) == Some(&0)
    })?;
    let length = usize::try_from(number(rest, 0)?).ok()?;
    Some((name, Document::from_reader(rest.get(..length)?).ok()?))
}

fn refusal(code: i32, name: &str, message: &str) -> Document {
    doc! { "ok": 0.0, "code": code, "codeName": name, "errmsg": message }
}

/// The configuration of the set, in a file beside the data: none until it is initiated.
fn replica_set(command: &str, asked: &Document, file: &Path) -> Result<Document, Failure> {
    let there = match std::fs::read(file) {
        Ok(bytes) => Some(Document::from_reader(&*bytes)?),
        Err(_) => None,
    };
    let write = |config: &Document| -> Result<Document, Failure> {
        std::fs::write(file, config.to_vec()?)?;
        Ok(doc! { "ok": 1.0 })
    };
    match (command, there) {
        ("replSetGetConfig", Some(config)) => Ok(doc! { "config": config, "ok": 1.0 }),
        ("replSetGetConfig", None) => Ok(refusal(
            94,
            "NotYetInitialized",
            "no replset config has been received",
        )),
        ("replSetInitiate", Some(_)) => {
            Ok(refusal(23, "AlreadyInitialized", "already initialized"))
        }
        ("replSetInitiate", None) => {
            let mut config = asked.get_document(command)?.clone();
            config.insert("version", 1_i64);
            write(&config)
        }
        _ => write(asked.get_document(command)?),
    }
}

fn answer_to(message: &[u8], answer: &Document) -> Result<Vec<u8>, Failure> {
    let body = RawDocumentBuf::try_from(answer)?;
    let length = i32::try_from(HEADER + 5 + body.as_bytes().len())?;
    let mut bytes = Vec::new();
    for part in [length, 0, number(message, 4).unwrap_or(0), OP_MSG, 0] {
        bytes.extend(part.to_le_bytes());
    }
    bytes.push(0);
    bytes.extend(body.as_bytes());
    Ok(bytes)
}
