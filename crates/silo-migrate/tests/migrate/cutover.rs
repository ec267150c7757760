//! `silo-migrate cutover`.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use serde_json::Value;
use silo_cli::exit::{EXIT_CORRUPT, EXIT_DIFFERENT, EXIT_REFUSED};
use silo_testkit::mongo::MongoServer;
use silo_testkit::program::{Ended, ended, write_private};
use tempfile::TempDir;

/// A string of the old cluster, with all letters that need care.
const OLD: &str = "mongodb+srv://ac:p%40ss#w$rd@aesthetic.qencn.mongodb.net/aesthetic?retryWrites=true&w=majority";

async fn cutover(arguments: &[&str]) -> Ended {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_silo-migrate"));
    command
        .arg("cutover")
        .args(arguments)
        .args(["--json", "--quiet"])
        .env_clear()
        .kill_on_drop(true);
    command
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    ended(command.spawn().unwrap()).await
}

fn write(folder: &TempDir, name: &str, text: &str, mode: u32) -> String {
    let file = folder.path().join(name);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, text).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
    file.display().to_string()
}

/// Every file below a folder, with its contents and mode.
fn contents(folder: &Path) -> Vec<(String, Vec<u8>, u32)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(contents(&path));
        } else {
            let mode = fs::symlink_metadata(&path).unwrap().mode();
            all.push((path.display().to_string(), fs::read(&path).unwrap(), mode));
        }
    }
    all.sort();
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn old_strings_are_replaced_and_restored_to_the_last_byte() {
    let mongo = MongoServer::start_with_accounts("aesthetic").await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (services, secrets) = (folder.path().join("services"), tempfile::tempdir().unwrap());
    write(
        &folder,
        "services/oven/.env",
        &format!(
            "PORT=3002\nMONGODB_CONNECTION_STRING=\"{}\"\n# MONGODB_CONNECTION_STRING={OLD}\n",
            OLD.replace('$', "\\$")
        ),
        0o600,
    );
    write(
        &folder,
        "services/session/.env.production",
        &format!(
            "\u{feff}export  MONGODB_CONNECTION_STRING = '{OLD}' # ours\r\nREDIS=x\r\nLAST=\"no newline\""
        ),
        0o640,
    );
    write(
        &folder,
        "services/lith/lith.env",
        "A=1\nATLAS=mongodb+srv://ac:secretpassword@aesthetic.qencn.mongodb.net/aesthetic?a=1&b=2   \nOTHER=mongodb://u:otherpassword@elsewhere.example/db\n",
        0o644,
    );
    write(
        &folder,
        "services/node_modules/x/.env",
        &format!("M={OLD}\n"),
        0o600,
    );
    write(&folder, "services/readme.md", &format!("M={OLD}\n"), 0o600);
    symlink(services.join("oven/.env"), services.join(".env")).unwrap();
    let before = contents(&services);
    let path = services.display().to_string();

    let listed = cutover(&[&path]).await;
    let found = listed.good()["found"].as_array().unwrap().clone();
    assert_eq!(found.len(), 5, "{found:#?}");
    let old = found
        .iter()
        .filter(|found| found["old"] == true && found["commented"] == false);
    assert_eq!(old.count(), 3, "{found:#?}");
    assert!(
        found
            .iter()
            .any(|found| found["user"] == "ac" && found["hosts"] == "aesthetic.qencn.mongodb.net")
    );

    let new = secrets.path().join("new");
    write_private(&new, &mongo.client_uri().replace("/?", "/aesthetic?")).unwrap();
    let new = new.display().to_string();
    let planned = cutover(&[&path, "--to-file", &new, "--apply", "--dry-run"])
        .await
        .good();
    assert_eq!(planned["changed"].as_array().unwrap().len(), 3, "{planned}");
    assert_eq!(contents(&services), before, "a dry run writes nothing");

    let applied = cutover(&[&path, "--to-file", &new, "--apply"]).await;
    assert_eq!(applied.good()["changed"].as_array().unwrap().len(), 3);
    for secret in ["p%40ss", "secretpassword", "otherpassword"] {
        for output in [&listed, &applied] {
            assert!(!output.stdout.contains(secret) && !output.stderr.contains(secret));
        }
    }
    let uri = fs::read_to_string(&new).unwrap();
    let session = fs::read_to_string(services.join("session/.env.production")).unwrap();
    assert_eq!(
        session,
        format!(
            "\u{feff}export  MONGODB_CONNECTION_STRING = '{uri}' # ours\r\nREDIS=x\r\nLAST=\"no newline\""
        )
    );
    let oven = fs::read_to_string(services.join("oven/.env")).unwrap();
    assert_eq!(
        oven,
        format!(
            "PORT=3002\nMONGODB_CONNECTION_STRING=\"{uri}\"\n# MONGODB_CONNECTION_STRING={OLD}\n"
        )
    );
    assert!(
        fs::symlink_metadata(services.join(".env"))
            .unwrap()
            .is_symlink()
    );
    for (file, mode) in [
        ("oven/.env", 0o600),
        ("session/.env.production", 0o640),
        ("lith/lith.env", 0o644),
    ] {
        assert_eq!(
            fs::metadata(services.join(file)).unwrap().mode() & 0o777,
            mode,
            "{file}"
        );
    }
    // `OTHER` leads nowhere, and the new strings work.
    let checked = cutover(&[&path, "--check"])
        .await
        .ends_with(EXIT_DIFFERENT)
        .value();
    let failed: Vec<&Value> = checked["failed"]
        .as_array()
        .unwrap()
        .iter()
        .map(|failed| &failed["at"]["name"])
        .collect();
    assert_eq!(failed, ["OTHER"], "{checked}");
    assert_eq!(
        cutover(&[&path, "--to-file", &new, "--apply"]).await.good()["changed"],
        serde_json::json!([])
    );

    // A file that was changed since is not restored, and neither are the others.
    let changed = format!("{oven}MORE=1\n");
    fs::write(services.join("oven/.env"), &changed).unwrap();
    cutover(&[&path, "--undo"]).await.ends_with(EXIT_REFUSED);
    assert_eq!(
        fs::read_to_string(services.join("session/.env.production")).unwrap(),
        session
    );
    fs::write(services.join("oven/.env"), &oven).unwrap();
    let applied = contents(&services);
    cutover(&[&path, "--undo", "--dry-run"]).await.good();
    assert_eq!(contents(&services), applied, "a dry run writes nothing");
    let restored = cutover(&[&path, "--undo"]).await.good();
    assert_eq!(
        restored["restored"].as_array().unwrap().len(),
        3,
        "{restored}"
    );
    assert_eq!(contents(&services), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_changed_safely_is_refused_by_name() {
    let mongo = MongoServer::start_with_accounts("aesthetic").await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let new = folder.path().join("new");
    write_private(&new, &mongo.client_uri().replace("/?", "/aesthetic?")).unwrap();
    let new = new.display().to_string();
    for (name, text, code, problem) in [
        (
            "twice",
            format!("M={OLD}\nM={OLD}\n"),
            EXIT_REFUSED,
            "M is set twice",
        ),
        (
            "open",
            format!("M='{OLD}\n"),
            EXIT_CORRUPT,
            "the quotes of M are not closed",
        ),
        (
            "backticks",
            format!("M=`{OLD}`\n"),
            EXIT_CORRUPT,
            "backticks",
        ),
    ] {
        let file = write(&folder, &format!("{name}/.env"), &text, 0o600);
        let refused = cutover(&[&file, "--to-file", &new, "--apply"]).await;
        assert!(
            refused.ends_with(code).stdout.contains(problem),
            "{refused:?}"
        );
        assert_eq!(fs::read_to_string(&file).unwrap(), text);
    }
    for (name, text) in [
        ("yaml", format!("M: {OLD}\n")),
        ("hyphen", format!("M-URI={OLD}\n")),
        ("host", "DB_HOST=aesthetic.qencn.mongodb.net\n".to_owned()),
    ] {
        let file = write(&folder, &format!("{name}/.env"), &text, 0o600);
        let listed = cutover(&[&file]).await.good();
        assert_eq!(listed["found"][0]["old"], true, "{listed}");
        let refused = cutover(&[&file, "--to-file", &new, "--apply"]).await;
        assert!(
            refused
                .ends_with(EXIT_REFUSED)
                .stdout
                .contains("line 1 has the name of the old cluster"),
            "{refused:?}"
        );
    }
    // Another cluster of the same account, and passwords that are not escaped.
    let other = "M=mongodb+srv://ac:p@aesthetic-staging.qencn.mongodb.net/x\n";
    let file = write(&folder, "other/.env", other, 0o600);
    assert_eq!(
        cutover(&[&file, "--to-file", &new, "--apply"]).await.good()["changed"],
        serde_json::json!([])
    );
    for uri in [
        "mongodb://ac:Secr3t/x@aesthetic.qencn.mongodb.net/db",
        "mongodb://ac:Secr3t?x@h.example/db",
        "mongodb://ac:p@Secr3t/w@h.example/db",
    ] {
        let file = write(&folder, "secret/.env", &format!("M={uri}\n"), 0o600);
        let listed = cutover(&[&file]).await;
        assert!(
            listed.good()["found"][0]["hosts"]
                .as_str()
                .unwrap()
                .starts_with("(unreadable"),
            "{listed:?}"
        );
        assert!(!listed.stdout.contains("Secr3t"), "{listed:?}");
    }
    let file = write(&folder, "linked/.env", &format!("M={OLD}\n"), 0o600);
    fs::hard_link(&file, folder.path().join("second")).unwrap();
    let refused = cutover(&[&file, "--to-file", &new, "--apply"]).await;
    assert!(
        refused.ends_with(EXIT_REFUSED).stdout.contains("hard link"),
        "{refused:?}"
    );

    let file = write(&folder, "good/.env", &format!("M={OLD}\n"), 0o600);
    let reader = folder.path().join("reader");
    write_private(&reader, &mongo.reader_uri().replace("/?", "/aesthetic?")).unwrap();
    let wrong = folder.path().join("wrong");
    write_private(
        &wrong,
        "mongodb://ac:wrongpassword@127.0.0.1:9/aesthetic?serverSelectionTimeoutMS=100",
    )
    .unwrap();
    for (target, problem) in [(&reader, "may not insert"), (&wrong, "cannot be used")] {
        let refused =
            cutover(&[&file, "--to-file", &target.display().to_string(), "--apply"]).await;
        assert!(
            refused.ends_with(EXIT_REFUSED).stdout.contains(problem),
            "{refused:?}"
        );
        assert!(!refused.stdout.contains("wrongpassword"));
        assert_eq!(fs::read_to_string(&file).unwrap(), format!("M={OLD}\n"));
    }
}
