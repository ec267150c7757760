//! Open ports, and connections between networks.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, ensure};
use silo_testkit::say;
use silo_testkit::tools::workspace;

use crate::droplet::compose::{ALL, Droplet};

pub(super) async fn ports(droplet: &Droplet<'_>) -> Result<()> {
    let mut published = BTreeSet::new();
    for service in ALL {
        let bindings = droplet.inspect(service, "{{range $port, $at := .NetworkSettings.Ports}}{{range $at}}{{$port}}={{.HostIp}}:{{.HostPort}} {{end}}{{end}}").await?;
        published.extend(
            bindings
                .split_whitespace()
                .map(|one| format!("{service} {one}")),
        );
    }
    let meant = BTreeSet::from([
        format!("caddy 80/tcp=127.0.0.1:{}", droplet.http),
        format!("caddy 443/tcp=127.0.0.1:{}", droplet.https),
        format!("caddy 443/udp=127.0.0.1:{}", droplet.https),
        format!("mongo 27017/tcp=127.0.0.1:{}", droplet.mongo),
    ]);
    ensure!(published == meant, "published are {published:?}");
    // Caddy's admin interface is a socket in its own container.
    let (_, output_text) = droplet
        .exec(
            "caddy",
            &["sh", "-c", "cat /proc/net/tcp /proc/net/tcp6 2>/dev/null"],
        )
        .await?;
    let listening: BTreeSet<u16> = output_text
        .lines()
        .filter_map(|line| {
            let mut fields = line.split_whitespace().skip(1);
            let (local, state) = (fields.next()?, fields.nth(1)?);
            let port = u16::from_str_radix(local.rsplit(':').next()?, 16).ok()?;
            // 0A is LISTEN; 127.0.0.11 is Docker's resolver, on a port of its choice.
            (state == "0A" && !local.starts_with("0B00007F")).then_some(port)
        })
        .collect();
    ensure!(
        listening == BTreeSet::from([80, 443, 7100]),
        "in Caddy's container listen {listening:?}"
    );
    Ok(())
}

/// Tries from inside to reach a listener that is outside of every container, by an address of this machine's own way out.
pub(super) async fn have_no_outbound_access(droplet: &Droplet<'_>) -> Result<()> {
    let outside = "8.8.8.8:53";
    let route = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    if route.connect(outside).is_err() {
        say::skipped("no way out", "this machine has no way out itself");
        return Ok(());
    }
    // The internet is played by a network namespace of our own, behind this machine.
    let internet = Internet::start(droplet).await?;
    let outcome = only_who_may(droplet, internet.address).await;
    internet.end(droplet).await?;
    outcome
}

async fn only_who_may(droplet: &Droplet<'_>, address: Ipv4Addr) -> Result<()> {
    let (reached, output_text) = reach(droplet, "caddy", "wget", address).await?;
    ensure!(
        reached,
        "Caddy, which has internet access, cannot connect ({output_text}): the check proves nothing"
    );
    for (service, program) in [("mongo", "bash"), ("mongo-express", "node")] {
        let (reached, output_text) = reach(droplet, service, program, address).await?;
        ensure!(!reached, "{service} reaches the internet: {output_text}");
    }
    Ok(())
}

/// `true` if a container can connect to an address, tried with a program of its image.
async fn reach(
    droplet: &Droplet<'_>,
    service: &str,
    program: &str,
    address: Ipv4Addr,
) -> Result<(bool, String)> {
    let script = match program {
        "bash" => format!(
            "timeout 3 bash -c 'exec 3<>/dev/tcp/{address}/8080; printf \"GET / HTTP/1.0\\r\\n\\r\\n\" >&3; head -n 1 <&3'"
        ),
        "wget" => format!("wget -q -T 3 -t 1 -O - http://{address}:8080/ 2>&1"),
        _ => format!(
            "node -e \"require('http').get({{host:'{address}',port:8080,timeout:3000}},r=>process.exit(0)).on('timeout',()=>process.exit(1)).on('error',()=>process.exit(1))\""
        ),
    };
    let (code, output_text) = droplet.exec(service, &["sh", "-c", &script]).await?;
    Ok((code == Some(0), output_text))
}

/// `ops/firewall` in front of a port that is requested from outside.
pub(super) async fn firewall(droplet: &Droplet<'_>) -> Result<()> {
    if !droplet.engine.is_own() {
        say::skipped(
            "the firewall",
            "the engine is not ours, and neither is this machine's firewall",
        );
        return Ok(());
    }
    let internet = Internet::start(droplet).await?;
    let published = format!("{}::3002", internet.ours);
    // Any listening program will do to test a firewall.
    let id = droplet
        .engine
        .output(&[
            "docker",
            "run",
            "--detach",
            "--rm",
            "--publish",
            &published,
            "silo-demo:droplet",
            "services",
        ])
        .await?;
    let outcome = lets_in(droplet, &internet, id.trim()).await;
    let remove = "iptables -D DOCKER-USER -j SILO-MONGO; iptables -F SILO-MONGO; iptables -X SILO-MONGO; ip6tables -D DOCKER-USER -j SILO-MONGO; ip6tables -F SILO-MONGO; ip6tables -X SILO-MONGO; true";
    droplet.engine.output(&["sh", "-c", remove]).await?;
    droplet
        .engine
        .output(&["docker", "kill", id.trim()])
        .await?;
    internet.end(droplet).await?;
    outcome
}

async fn lets_in(droplet: &Droplet<'_>, internet: &Internet, container: &str) -> Result<()> {
    let format = "{{(index (index .NetworkSettings.Ports \"3002/tcp\") 0).HostPort}}";
    let port = droplet
        .engine
        .output(&["docker", "inspect", "--format", format, container])
        .await?;
    let port = port.trim();
    let reaches = async || {
        let script = format!(
            "timeout 3 bash -c 'exec 3<>/dev/tcp/{}/{port}'",
            internet.ours
        );
        let words = ["ip", "netns", "exec", &internet.name, "bash", "-c", &script];
        droplet.engine.output(&words).await.is_ok()
    };
    let there = silo_testkit::wait::wait_for(std::time::Duration::from_secs(10), async || {
        reaches().await.then_some(())
    });
    there
        .await
        .context("no connection without the firewall either: the check proves nothing")?;
    let other = "203.0.113.9";
    for (allow, lets_in) in [
        (other.to_owned(), false),
        (format!("{other}, {}/30", internet.ours), true),
        (format!("{other},{}", internet.address), true),
        (other.to_owned(), false),
        (String::new(), true),
    ] {
        let (code, output_text) = run_firewall(&allow, port).await?;
        ensure!(
            code == Some(0),
            "ops/firewall with `{allow}`: {output_text}"
        );
        ensure!(
            reaches().await == lets_in,
            "with MONGO_ALLOW=`{allow}` {} gets through: {}; output: {output_text}",
            internet.address,
            !lets_in
        );
    }
    let (code, output_text) = run_firewall("everybody", port).await?;
    ensure!(
        code == Some(78) && output_text.contains("everybody is no address"),
        "{code:?}: {output_text}"
    );
    ensure!(!reaches().await, "who cannot be read lets everybody in");
    Ok(())
}

async fn run_firewall(allow: &str, port: &str) -> Result<(Option<i32>, String)> {
    let script = workspace().join("ops/firewall").display().to_string();
    let output = crate::droplet::engine::command(&[&script])
        .envs([("MONGO_ALLOW", allow), ("MONGO_PORT", port)])
        .output()
        .await?;
    let output_text = [output.stdout, output.stderr].concat();
    Ok((
        output.status.code(),
        String::from_utf8_lossy(&output_text).into_owned(),
    ))
}

/// A network namespace outside this machine, with a listening program.
struct Internet {
    /// Own address.
    address: Ipv4Addr,
    /// Address of this machine, as seen from the namespace.
    ours: Ipv4Addr,
    name: String,
    _listener: tokio::process::Child,
}

impl Internet {
    async fn start(droplet: &Droplet<'_>) -> Result<Self> {
        // A name is free again only some time after its namespace was deleted.
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let number = std::process::id() % 200;
        let name = format!("silo{number}x{}", STARTED.fetch_add(1, Ordering::Relaxed));
        let address = Ipv4Addr::new(198, 51, 100, 2);
        let (ours, theirs) = (format!("{name}a"), format!("{name}b"));
        let script = format!(
            "ip netns add {name} && ip link add {ours} type veth peer name {theirs} netns {name} && ip addr add 198.51.100.1/30 dev {ours} && ip link set {ours} up \
             && ip netns exec {name} ip addr add {address}/30 dev {theirs} && ip netns exec {name} ip link set {theirs} up && ip netns exec {name} ip link set lo up"
        );
        droplet
            .engine
            .output(&["sh", "-c", &script])
            .await
            .context("a network namespace")?;
        let listener = crate::droplet::engine::command(&[
            "ip",
            "netns",
            "exec",
            &name,
            "python3",
            "-m",
            "http.server",
            "8080",
            "--bind",
            &address.to_string(),
        ])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .current_dir(droplet.folder.path())
        .spawn()?;
        let there = silo_testkit::wait::wait_for(std::time::Duration::from_secs(10), || async {
            tokio::net::TcpStream::connect((address, 8080)).await.ok()
        });
        there.await.context("nobody listens beyond")?;
        Ok(Self {
            address,
            ours: Ipv4Addr::new(198, 51, 100, 1),
            name,
            _listener: listener,
        })
    }

    async fn end(mut self, droplet: &Droplet<'_>) -> Result<()> {
        self._listener.kill().await?;
        droplet
            .engine
            .output(&["ip", "link", "del", &format!("{}a", self.name)])
            .await?;
        droplet
            .engine
            .output(&["ip", "netns", "del", &self.name])
            .await
            .map(drop)
    }
}
