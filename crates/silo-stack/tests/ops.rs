//! Scripts of `ops` that need no Docker: `ops/secrets`, `ops/provision --check`, `ops/firewall --dry-run`. The others are tested by `cargo xtask
//! droplet`.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use silo_testkit::tools::workspace;
use tempfile::TempDir;

fn run(command: &mut Command) -> (i32, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    let output_text = [stdout, stderr].concat();
    (
        status.code().unwrap(),
        String::from_utf8_lossy(&output_text).into_owned(),
    )
}

fn secrets(folder: &Path, arguments: &[&str]) -> (i32, String) {
    run(Command::new(workspace().join("ops/secrets"))
        .args(arguments)
        .env("SILO_SECRETS", folder))
}

fn files(folder: &Path) -> BTreeMap<String, String> {
    std::fs::read_dir(folder)
        .unwrap()
        .map(|file| {
            let file = file.unwrap();
            (
                file.file_name().into_string().unwrap(),
                std::fs::read_to_string(file.path()).unwrap(),
            )
        })
        .collect()
}

#[tokio::test]
async fn secrets_are_created_once_and_never_printed() {
    let place = TempDir::new().unwrap();
    let folder = place.path().join("secrets");
    let (code, output_text) = secrets(&folder, &["silo.example", "lith", "session"]);
    assert_eq!(code, 0, "{output_text}");
    let made = files(&folder);

    // Exactly what Compose mounts, the list of AC's own, and the account for restores.
    let compose = std::fs::read_to_string(workspace().join("docker-compose.yml")).unwrap();
    let mut wanted: BTreeSet<&str> = compose
        .lines()
        .filter_map(|line| line.split_once(": {file: \"${SILO_SECRETS:?set it in .env}/"))
        .map(|(name, _)| name.trim())
        .collect();
    assert!(wanted.len() > 10, "{wanted:?}");
    wanted.insert("mongo_clients");
    // Mounted for commands of an operator only.
    wanted.insert("mongo_restore");
    assert_eq!(wanted, made.keys().map(String::as_str).collect());

    // Every account has a password of its own: root, five of Silo's and two of AC's.
    let mut passwords = BTreeSet::new();
    for line in made["mongo_accounts"].lines() {
        let (_, rest) = line.split_once("://").unwrap();
        let (_, rest) = rest.split_once(':').unwrap();
        let (password, _) = rest.split_once('@').unwrap();
        assert!(password.len() >= 24, "a short password");
        assert!(!output_text.contains(password), "a password was printed");
        passwords.insert(password);
    }
    assert_eq!(passwords.len(), 8);
    // The connection strings have the options that AC's code expects.
    assert!(made["mongo_clients"].lines().all(|line| {
        let (_, name) = line.split_once("appName=").unwrap();
        line.starts_with(&format!(
            "mongodb://{}:",
            name.trim_end_matches("&maxPoolSize=20")
        )) && line
            .contains("@silo.example:27017/aesthetic?replicaSet=rs0&authSource=aesthetic&tls=true&")
    }));

    // Other users cannot read the folder; secrets that cannot be generated are asked for.
    let mode = std::fs::metadata(&folder).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    for name in [
        "silo_users",
        "spaces_key",
        "spaces_secret",
        "backup_key",
        "backup_secret",
    ] {
        assert!(output_text.contains(&format!("{name}: ")), "{output_text}");
        assert_eq!(made[name], "", "{name}");
    }

    // A second run with one more account: existing secrets stay.
    std::fs::write(folder.join("spaces_key"), "a key").unwrap();
    let (code, output_text) = secrets(&folder, &["silo.example", "lith", "session", "oven"]);
    assert_eq!(code, 0, "{output_text}");
    let mut again = files(&folder);
    assert_eq!(again.remove("spaces_key").unwrap(), "a key");
    for (name, before) in &made {
        match name.as_str() {
            "spaces_key" => {}
            "mongo_accounts" => {
                let lines = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
                let (before, after) = (lines(before), lines(&again[name]));
                assert!(before.is_subset(&after) && after.len() == 9);
            }
            "mongo_clients" => assert!(again[name].starts_with(before.as_str())),
            _ => assert_eq!(before, &again[name], "{name}"),
        }
    }

    // Another name: everybody is led there, with the same passwords.
    let (code, output_text) = secrets(&folder, &["new.example"]);
    assert_eq!(code, 0, "{output_text}");
    let moved = files(&folder);
    for name in ["mongo_reader", "mongo_clients", "mongo_accounts"] {
        assert_eq!(
            moved[name],
            again[name].replace("silo.example", "new.example")
        );
    }
    let (code, _) = secrets(&folder, &["silo.example"]);
    assert_eq!(code, 0);
    assert_eq!(files(&folder)["mongo_accounts"], again["mongo_accounts"]);

    // A leaked secret: its file is removed, and only it is generated again.
    std::fs::remove_file(folder.join("mongo_reader")).unwrap();
    let (code, _) = secrets(&folder, &["silo.example"]);
    assert_eq!(code, 0);
    let last = files(&folder);
    assert_ne!(last["mongo_reader"], made["mongo_reader"]);
    assert!(last["mongo_accounts"].contains(last["mongo_reader"].trim()));
    assert!(!last["mongo_accounts"].contains(made["mongo_reader"].trim()));
    assert_eq!(last["mongo_backup"], made["mongo_backup"]);
}

#[test]
fn invalid_names_create_no_secrets() {
    let place = TempDir::new().unwrap();
    for arguments in [
        &[][..],
        &["a host"],
        &["silo.example", "lith;rm"],
        &["--help"],
    ] {
        let folder = place.path().join("secrets");
        let (code, output_text) = secrets(&folder, arguments);
        assert_eq!(code, 64, "{arguments:?}: {output_text}");
        assert!(!folder.exists(), "{arguments:?} made something");
    }
}

#[test]
fn the_export_of_the_secrets_is_encrypted_and_complete() {
    let place = TempDir::new().unwrap();
    std::fs::create_dir(place.path().join("secrets")).unwrap();
    for (file, text) in [
        ("secrets/spaces_key", "a key"),
        (".env", "SILO_SITE=silo.example\n"),
        ("silo.toml", ""),
    ] {
        std::fs::write(place.path().join(file), text).unwrap();
    }
    let script = format!(
        "age-keygen -o key 2> public && {}/ops/secrets --export \"$(sed -n 's/^Public key: //p' public)\" > export.age && mkdir back && age --decrypt --identity key export.age | tar --extract --directory back",
        workspace().display()
    );
    let (code, output_text) = run(Command::new("bash")
        .args(["-c", &script])
        .current_dir(place.path()));
    assert_eq!(code, 0, "{output_text}");
    let back = |file: &str| std::fs::read_to_string(place.path().join("back").join(file)).unwrap();
    assert_eq!(back("secrets/spaces_key"), "a key");
    assert_eq!(back(".env"), "SILO_SITE=silo.example\n");
    assert_eq!(back("silo.toml"), "");
    let encrypted = std::fs::read(place.path().join("export.age")).unwrap();
    assert!(!encrypted.windows(5).any(|bytes| bytes == b"a key"));
    let (code, output_text) =
        run(Command::new(workspace().join("ops/secrets")).args(["--export", "somebody"]));
    assert_eq!(code, 64, "{output_text}");
}

#[test]
fn an_announcement_is_sent_to_the_webhook_and_hides_its_address() {
    use std::io::{Read, Write};

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!(
        "http://{}/hook?token=secret",
        listener.local_addr().unwrap()
    );
    let secrets = TempDir::new().unwrap();
    let announce = || {
        let mut announce = Command::new(workspace().join("ops/announce"));
        announce.env("SILO_SECRETS", secrets.path());
        announce.arg("a \"reboot\" at 09:30");
        run(&mut announce)
    };
    let (code, output_text) = announce();
    assert_eq!(code, 0, "{output_text}");
    assert!(output_text.contains("nobody is told"), "{output_text}");

    std::fs::write(secrets.path().join("alert_webhook_url"), url).unwrap();
    let receiver = std::thread::spawn(move || {
        let (mut connection, _) = listener.accept().unwrap();
        let (mut request, mut buffer) = (Vec::new(), [0; 4096]);
        while !request.ends_with(b"}") {
            let length = connection.read(&mut buffer).unwrap();
            request.extend(&buffer[..length]);
        }
        connection
            .write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
            .unwrap();
        String::from_utf8(request).unwrap()
    });
    let (code, output_text) = announce();
    assert_eq!(code, 0, "{output_text}");
    assert!(!output_text.contains("secret"), "{output_text}");
    let request = receiver.join().unwrap();
    assert!(request.starts_with("POST /hook?token=secret "), "{request}");
    let (_, body) = request.split_once("\r\n\r\n").unwrap();
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    let text = body["text"].as_str().unwrap();
    assert!(text.ends_with("a \"reboot\" at 09:30"), "{body}");
}

#[test]
fn provision_check_changes_nothing() {
    let place = TempDir::new().unwrap();
    let ops = place.path().join("ops");
    std::fs::create_dir(&ops).unwrap();
    std::fs::copy(workspace().join("ops/provision"), ops.join("provision")).unwrap();
    let (code, output_text) = run(Command::new("bash")
        .arg(ops.join("provision"))
        .arg("--check"));
    if !rustix::process::geteuid().is_root() {
        assert_eq!((code, output_text.trim()), (77, "run it as root"));
        return;
    }
    // Without settings and secrets some steps fail everywhere, and every step is reported.
    assert_eq!(code, 1, "{output_text}");
    for (at, step) in [
        "the processor has AVX",
        "8 GB are free",
        "packages",
        "1 GB of swap",
        "the kernel's settings",
        "Docker with Compose 2",
        "Docker's settings",
        "ufw lets in 22, 80 and 443",
        "security upgrades by themselves",
        "reboots for upgrades, announced",
        "settings in .env",
        "silo.toml",
        "the folder of mongod's data",
        "the list of who may reach mongod",
        "secrets",
        "DNS leads here",
    ]
    .into_iter()
    .enumerate()
    {
        let line = format!("{}. {step}: ", at + 1);
        let found = output_text
            .lines()
            .find(|found| found.starts_with(&line))
            .unwrap_or_else(|| panic!("{step} is not reported: {output_text}"));
        assert!(
            found.ends_with("already") || found.ends_with("MISSING"),
            "{found}"
        );
    }
    for step in ["settings in .env", "silo.toml", "secrets", "DNS leads here"] {
        assert!(
            output_text.contains(&format!("{step}: MISSING")),
            "{output_text}"
        );
    }
    assert!(
        !output_text.contains(" ..."),
        "it did something: {output_text}"
    );
    let (code, _) = run(Command::new("bash")
        .arg(ops.join("provision"))
        .arg("--nonsense"));
    assert_eq!(code, 64);
}

#[test]
fn the_firewall_dry_run_lists_its_rules() {
    let open = |address: &str, allow: &str, port: &str| {
        run(Command::new(workspace().join("ops/firewall"))
            .arg("--dry-run")
            .envs([("MONGO_ADDRESS", address), ("MONGO_ALLOW", allow)])
            .env("MONGO_PORT", port))
    };
    let firewall = |allow: &str, port: &str| open("127.0.0.1", allow, port);
    // The chain as iptables-restore reads it; what follows for IPv6 has the other addresses.
    let chain = |output_text: &str| -> Vec<String> {
        let four = output_text.split("COMMIT").next().unwrap();
        let rules = four.lines().filter(|line| line.contains("--ctstate"));
        rules.map(str::to_owned).collect()
    };
    let (code, output_text) = firewall("203.0.113.9, 198.51.100.0/24", "27018");
    assert_eq!(code, 0, "{output_text}");
    let rules = chain(&output_text);
    assert_eq!(
        rules.len(),
        4,
        "two who may, this machine, and nobody else: {output_text}"
    );
    assert!(
        rules
            .iter()
            .all(|rule| rule.contains("--ctorigdstport 27018 "))
    );
    assert!(rules[0].ends_with("-s 203.0.113.9 -j RETURN"));
    assert!(rules[1].ends_with("-s 198.51.100.0/24 -j RETURN"));
    assert!(rules[3].ends_with("-j DROP"));
    let (code, output_text) = firewall("", "27017");
    assert!(code == 0 && chain(&output_text).is_empty(), "{output_text}");
    // A port that is open to others needs a list, or the statement that a firewall in front decides.
    let (code, output_text) = open("0.0.0.0", "", "27017");
    assert_eq!(code, 78, "{output_text}");
    assert!(chain(&output_text)[1].ends_with("-j DROP"), "{output_text}");
    let (code, output_text) = open("0.0.0.0", "cloud-firewall", "27017");
    assert!(code == 0 && chain(&output_text).is_empty(), "{output_text}");
    // Unreadable input closes the firewall rather than opening it.
    for (allow, port) in [
        ("everybody", "27017"),
        ("10.0.0.300", "27017"),
        ("203.0.113.9, 10.0.0.0/33", "27017"),
        ("203.0.113.9", "mongo"),
    ] {
        let (code, output_text) = firewall(allow, port);
        assert_eq!(code, 78, "{output_text}");
        let rules = chain(&output_text);
        assert_eq!(rules.len(), 2, "{output_text}");
        assert!(rules[1].ends_with("-j DROP"), "{output_text}");
    }
}

#[test]
fn the_firewall_reads_settings_as_compose_does() {
    let place = TempDir::new().unwrap();
    let ops = place.path().join("ops");
    std::fs::create_dir(&ops).unwrap();
    std::fs::copy(workspace().join("ops/firewall"), ops.join("firewall")).unwrap();
    for line in [
        "MONGO_ALLOW=203.0.113.9",
        "MONGO_ALLOW=\"203.0.113.9\"",
        "MONGO_ALLOW='203.0.113.9' # oven",
        "MONGO_ALLOW=203.0.113.9   # oven",
    ] {
        std::fs::write(
            place.path().join(".env"),
            format!("MONGO_PORT=27019\n{line}\n"),
        )
        .unwrap();
        let (code, output_text) = run(Command::new("bash")
            .arg(ops.join("firewall"))
            .arg("--dry-run")
            .env_remove("MONGO_ALLOW")
            .env_remove("MONGO_PORT"));
        assert_eq!(code, 0, "{line}: {output_text}");
        assert!(
            output_text.ends_with("port 27019: 203.0.113.9 , and nobody else\n"),
            "{line}: {output_text}"
        );
    }
}

#[test]
fn the_rules_and_the_configuration_of_prometheus_are_valid() {
    let folder = workspace().join("ops/prometheus");
    for arguments in [
        ["check", "rules", "rules.yml"],
        ["check", "config", "prometheus.example.yml"],
    ] {
        // The example names a file of the machine that it is for.
        let flags = if arguments[1] == "config" {
            &["--syntax-only"][..]
        } else {
            &[]
        };
        let output = Command::new("promtool")
            .args(&arguments[..2])
            .args(flags)
            .arg(arguments[2])
            .current_dir(&folder)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    let dashboard = std::fs::read_to_string(folder.join("grafana.json")).unwrap();
    let dashboard: serde_json::Value = serde_json::from_str(&dashboard).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    assert!(
        panels
            .iter()
            .all(|panel| panel["targets"][0]["expr"].is_string())
    );
}
