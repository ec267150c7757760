//! mongod: its accounts, its TLS, its certificate.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use mongodb::Client;
use mongodb::bson::{Document, doc};
use mongodb::error::ErrorKind;
use silo_testkit::wait::wait_for;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::droplet::compose::{Droplet, SITE};

/// Every account that the demo names.
const ACCOUNTS: [&str; 6] = [
    "silo_reader",
    "silo_backup",
    "silo_drill",
    "silo_restore",
    "silo_browser",
    "demo",
];
/// Error code of mongod for a missing privilege.
const UNAUTHORIZED: i32 = 13;

pub(super) async fn is_initialised(droplet: &Droplet<'_>) -> Result<()> {
    let log = droplet.log("mongo-setup").await?;
    for account in ACCOUNTS {
        ensure!(
            log.contains(&format!("account {account} in ")),
            "no log line about {account}:\n{log}"
        );
    }
    let again = droplet
        .compose(&["run", "--rm", "-T", "mongo-setup", "init"])
        .await?;
    let items: Vec<&str> = again.lines().map(str::trim).collect();
    ensure!(items.len() >= ACCOUNTS.len() + 3, "{again}");
    let changed = |item: &&&str| item.starts_with("created") || item.starts_with("changed");
    let changed: Vec<_> = items.iter().filter(changed).collect();
    ensure!(
        changed.is_empty(),
        "the second time did something: {changed:?}"
    );
    Ok(())
}

/// A client as one of the accounts.
pub(super) async fn client(droplet: &Droplet<'_>, account: &str) -> Result<Client> {
    Ok(Client::with_options(droplet.mongo_options(account).await?)?)
}

async fn refused(client: &Client, database: &str, command: Document) -> Result<()> {
    let output_text = client.database(database).run_command(command.clone()).await;
    match output_text {
        Err(error) if matches!(error.kind.as_ref(), ErrorKind::Command(reply) if reply.code == UNAUTHORIZED) => {
            Ok(())
        }
        other => anyhow::bail!("{command} in {database}: {other:?}"),
    }
}

pub(super) async fn has_least_rights(droplet: &Droplet<'_>) -> Result<()> {
    let insert = || doc! { "insert": "moods", "documents": [{ "planted": true }] };
    let find = || doc! { "find": "moods", "limit": 1 };
    for account in ["mongo_reader", "mongo_browser", "mongo_backup"] {
        let client = client(droplet, account).await?;
        client
            .database("aesthetic")
            .run_command(find())
            .await
            .with_context(|| format!("{account} reads"))?;
        refused(&client, "aesthetic", insert())
            .await
            .context(account)?;
        refused(&client, "aesthetic", doc! { "drop": "moods" })
            .await
            .context(account)?;
        refused(
            &client,
            "admin",
            doc! { "createUser": "x", "pwd": "y", "roles": [] },
        )
        .await
        .context(account)?;
    }
    let browser = client(droplet, "mongo_browser").await?;
    refused(&browser, "silo", doc! { "find": "journal" })
        .await
        .context("mongo_browser")?;
    let drill = client(droplet, "mongo_drill").await?;
    for database in ["aesthetic", "silo", "other"] {
        refused(&drill, database, insert())
            .await
            .context("mongo_drill")?;
        refused(&drill, database, find())
            .await
            .context("mongo_drill")?;
    }
    let of_ac = client(droplet, "mongo_demo").await?;
    let database = of_ac.database("aesthetic");
    database.run_command(insert()).await.context("AC writes")?;
    database
        .run_command(
            doc! { "delete": "moods", "deletes": [{ "q": { "planted": true }, "limit": 0 }] },
        )
        .await?;
    refused(&of_ac, "silo", doc! { "find": "journal" })
        .await
        .context("mongo_demo")?;
    refused(
        &of_ac,
        "admin",
        doc! { "createUser": "x", "pwd": "y", "roles": [] },
    )
    .await
    .context("mongo_demo")
}

pub(super) async fn is_closed(droplet: &Droplet<'_>) -> Result<()> {
    // The first message of every driver, without TLS.
    let hello = [
        &b"\x3f\0\0\0\x01\0\0\0\0\0\0\0\xd4\x07\0\0\0\0\0\0admin.$cmd\0\0\0\0\0\x01\0\0\0"[..],
        b"\x13\0\0\0\x10hello\0\x01\0\0\0\0",
    ]
    .concat();
    let mut stream = TcpStream::connect(("127.0.0.1", droplet.mongo)).await?;
    stream.write_all(&hello).await?;
    let mut output_text = Vec::new();
    // However the connection ends, nothing of use may have come.
    drop(tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut output_text)).await);
    let reply = String::from_utf8_lossy(&output_text);
    ensure!(
        !reply.contains("maxWireVersion") && !reply.contains("ismaster"),
        "without TLS mongod answers {reply}"
    );

    let find = || doc! { "find": "moods", "limit": 1 };
    let mut options = droplet.mongo_options("mongo_reader").await?;
    let known = options.credential.take();
    let nobody = Client::with_options(options.clone())?;
    refused(&nobody, "aesthetic", find())
        .await
        .context("without a password")?;
    options.credential = known.map(|mut known| {
        known.password = Some("wrong".into());
        known
    });
    let wrong = Client::with_options(options)?;
    let output_text = wrong.database("aesthetic").run_command(find()).await;
    ensure!(
        output_text
            .as_ref()
            .is_err_and(|error| matches!(error.kind.as_ref(), ErrorKind::Authentication { .. })),
        "with a wrong password it answers {output_text:?}"
    );
    for (version, good) in [
        ("-tls1", false),
        ("-tls1_1", false),
        ("-tls1_2", true),
        ("-tls1_3", true),
    ] {
        let spoken = super::access::handshake(droplet.mongo, version).await?;
        ensure!(spoken == good, "mongod and {version}: {spoken}");
    }
    Ok(())
}

pub(super) async fn rotates(droplet: &Droplet<'_>) -> Result<()> {
    let shown = async || -> Result<String> {
        let address = format!("127.0.0.1:{}", droplet.mongo);
        let script = format!(
            "openssl s_client -connect {address} -servername {SITE} </dev/null 2>/dev/null | openssl x509 -noout -serial"
        );
        droplet.engine.output(&["sh", "-c", &script]).await
    };
    // Open connections stay open.
    let client = client(droplet, "mongo_reader").await?;
    let ping = async || {
        client
            .database("aesthetic")
            .run_command(doc! { "find": "moods", "limit": 1 })
            .await
    };
    ping().await?;
    let before = shown().await?;
    let started = droplet.inspect("mongo", "{{.State.StartedAt}}").await?;
    let folder = format!("/data/caddy/certificates/local/{SITE}");
    let (code, output_text) = droplet.exec("caddy", &["rm", "-r", &folder]).await?;
    ensure!(
        code == Some(0),
        "Caddy's certificate could not be removed: {output_text}"
    );
    droplet.compose(&["restart", "caddy"]).await?;
    let rotated = wait_for(Duration::from_secs(75), || async {
        let now = shown().await.ok()?;
        (now != before).then_some(())
    });
    rotated
        .await
        .context("mongod still shows its old certificate")?;
    ensure!(
        droplet.inspect("mongo", "{{.State.StartedAt}}").await? == started,
        "mongod was restarted"
    );
    ping().await.context("the connection that was open")?;
    self::client(droplet, "mongo_reader")
        .await?
        .database("aesthetic")
        .run_command(doc! { "ping": 1 })
        .await
        .context("a new connection")?;
    Ok(())
}
