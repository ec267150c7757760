//! Ceph RGW on a cluster of one monitor and one OSD, with its data in memory.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::Command;
use tokio::sync::OnceCell;

use super::account::ADMIN;
use super::error::S3Error;
use crate::process::Process;
use crate::wait::wait_for;

/// Environment variable with the address of a cluster that runs already (`127.0.0.1:PORT`). `cargo xtask test` starts one for all test programs.
pub const CLUSTER_VARIABLE: &str = "SILO_TEST_RGW";

/// Time limit for each daemon to start; all together take about ten seconds.
const UP_WITHIN: Duration = Duration::from_secs(30);
/// Size of the store in memory. Data of one whole test run stays below it.
const STORE_BYTES: u64 = 6 << 30;

/// A running cluster. Dropping it kills its three processes and removes their files.
pub struct Rgw {
    address: SocketAddr,
    // Ended in this order: RGW first.
    _processes: [Process; 3],
    _folder: TempDir,
}

impl Rgw {
    /// Starts a cluster on free ports.
    ///
    /// # Errors
    /// When Ceph is not installed or does not start.
    pub async fn start() -> Result<Self, S3Error> {
        // Another process may take a free port before it is used.
        match Self::start_once().await {
            Err(S3Error::Command { .. }) => Self::start_once().await,
            started => started,
        }
    }

    async fn start_once() -> Result<Self, S3Error> {
        let folder = TempDir::with_prefix("silo-rgw-")?;
        let (monitor, rgw) = (free_address()?, free_address()?);
        let cluster = Cluster::write(folder.path(), monitor, rgw)?;
        let monmap = folder.path().join("monmap").display().to_string();
        let monitor_text = format!("[v1:{monitor}]");
        let fsid = cluster.fsid.clone();
        cluster
            .run(
                "monmaptool",
                &[
                    "--create",
                    "--clobber",
                    "--fsid",
                    &fsid,
                    "--addv",
                    "a",
                    &monitor_text,
                    &monmap,
                ],
            )
            .await?;
        let make = ["-i", "a", "--mkfs", "--monmap", &monmap];
        cluster.run("ceph-mon", &make).await?;
        let monitor = cluster.daemon("ceph-mon", &["-i", "a"])?;
        let osd = uuid::Uuid::new_v4().to_string();
        cluster.run("ceph", &["osd", "create", &osd]).await?;
        let make = ["-i", "0", "--mkfs", "--osd-uuid", &osd];
        cluster.run("ceph-osd", &make).await?;
        let place = ["root=default", "host=localhost"];
        cluster
            .run(
                "ceph",
                &["osd", "crush", "add", "0", "1", place[0], place[1]],
            )
            .await?;
        let osd = cluster.daemon("ceph-osd", &["-i", "0"])?;
        let mut gateway = cluster.daemon("radosgw", &["-n", "client.rgw.a"])?;
        let url = format!("http://{rgw}/");
        let up = wait_for(UP_WITHIN, || async {
            let answer = reqwest::get(&url).await;
            answer.ok().map(drop)
        });
        if up.await.is_none() {
            gateway.kill().await?;
            return Err(S3Error::Command {
                command: "radosgw".into(),
                output: cluster.last_log_lines(),
            });
        }
        let (key, secret) = ADMIN;
        let keys = ["--access-key", key, "--secret", secret];
        cluster
            .run(
                "radosgw-admin",
                &[
                    &[
                        "user",
                        "create",
                        "--uid",
                        "admin",
                        "--display-name",
                        "admin",
                        "--caps",
                        "users=*",
                    ][..],
                    &keys,
                ]
                .concat(),
            )
            .await?;
        Ok(Self {
            address: rgw,
            _processes: [gateway, osd, monitor],
            _folder: folder,
        })
    }

    /// `127.0.0.1:PORT`
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// The address of the cluster that all tests of this process share: the one of [`CLUSTER_VARIABLE`], or one that is started once and ends with
/// the process.
pub(super) async fn shared() -> Result<SocketAddr, S3Error> {
    static SHARED: OnceCell<SocketAddr> = OnceCell::const_new();
    if let Some(address) = std::env::var(CLUSTER_VARIABLE)
        .ok()
        .and_then(|address| address.parse().ok())
    {
        return Ok(address);
    }
    SHARED.get_or_try_init(start_for_process).await.copied()
}

/// Starts a cluster from a thread that lives as long as the process: the daemons end when the thread that started them does, and a test's own
/// thread ends with the test.
async fn start_for_process() -> Result<SocketAddr, S3Error> {
    let (send, receive) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let started = runtime.map_err(S3Error::from).and_then(|runtime| {
            let rgw = runtime.block_on(Rgw::start())?;
            Ok((runtime, rgw))
        });
        match started {
            Ok((runtime, rgw)) => {
                drop(send.send(Ok(rgw.address())));
                runtime.block_on(std::future::pending::<()>());
            }
            Err(error) => drop(send.send(Err(error))),
        }
    });
    receive
        .await
        .map_err(|_ended| S3Error::Io(std::io::ErrorKind::BrokenPipe.into()))?
}

/// Configuration file of the cluster, and commands with it.
struct Cluster {
    file: PathBuf,
    fsid: String,
}

impl Cluster {
    fn write(folder: &Path, monitor: SocketAddr, rgw: SocketAddr) -> std::io::Result<Self> {
        let fsid = uuid::Uuid::new_v4().to_string();
        for name in ["mon", "osd", "log", "run"] {
            std::fs::create_dir(folder.join(name))?;
        }
        let at = folder.display();
        let text = format!(
            "[global]
fsid = {fsid}
mon host = [v1:{monitor}]
mon initial members = a
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind ipv6 = false
auth cluster required = none
auth service required = none
auth client required = none
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd crush chooseleaf type = 0
mon allow pool size one = true
mon warn on pool no redundancy = false
mon max pg per osd = 1000
mon osd full ratio = .99
# Each of RGW's pools is a proposal to the monitor, which by default collects proposals for a second.
paxos propose interval = 0.01
paxos min wait = 0.01
log file = {at}/log/$name.log
run dir = {at}/run
admin socket = {at}/run/$name.asok

[mon.a]
mon data = {at}/mon
# Free disk space is of no interest: all data is in memory.
mon data avail crit = 0
mon data avail warn = 0

[osd.0]
osd data = {at}/osd
# It is in the map already, and asking may come before it has heard of the cluster's id, which ends it ('wrong fsid').
osd crush update on start = false
osd class update on start = false
osd objectstore = memstore
memstore device bytes = {STORE_BYTES}

[client.rgw.a]
rgw frontends = beast endpoint={rgw}
rgw dns name = localhost
rgw relaxed s3 bucket names = true
# Deleted objects free their memory at once, and not two hours later.
rgw gc obj min wait = 1
rgw gc processor max time = 2
rgw gc processor period = 2
"
        );
        let file = folder.join("ceph.conf");
        std::fs::write(&file, text)?;
        Ok(Self { file, fsid })
    }

    /// Runs a command of Ceph to its end.
    async fn run(&self, program: &str, arguments: &[&str]) -> Result<(), S3Error> {
        let output = Command::new(program)
            .env("CEPH_CONF", &self.file)
            .args(arguments)
            .kill_on_drop(true)
            .output()
            .await
            .map_err(|error| missing(program, &error))?;
        if output.status.success() {
            return Ok(());
        }
        Err(S3Error::Command {
            command: [&[program], arguments].concat().join(" "),
            output: String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
        })
    }

    /// The end of each daemon's log.
    fn last_log_lines(&self) -> String {
        let files = std::fs::read_dir(self.file.with_file_name("log"));
        let files = files.into_iter().flatten().flatten();
        let ends = files.map(|file| {
            let text = std::fs::read_to_string(file.path()).unwrap_or_default();
            let lines: Vec<&str> = text.lines().rev().take(15).collect();
            let end: Vec<&str> = lines.into_iter().rev().collect();
            format!("{}:\n{}", file.path().display(), end.join("\n"))
        });
        ends.collect::<Vec<_>>().join("\n")
    }

    /// Starts a daemon in the foreground. It is killed when the thread that started it ends (`setpriv` of util-linux), so that it cannot outlive us.
    fn daemon(&self, program: &str, arguments: &[&str]) -> Result<Process, S3Error> {
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", program, "-f", "-c"])
            .arg(&self.file)
            .args(arguments);
        Ok(Process::start(program, command, None)?)
    }
}

fn missing(program: &str, error: &std::io::Error) -> std::io::Error {
    let text = format!("{program}: {error}; `cargo xtask tools` installs Ceph");
    std::io::Error::new(error.kind(), text)
}

/// An address of the loopback interface on which nothing listens.
fn free_address() -> std::io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}
