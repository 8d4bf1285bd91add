//! Authentication and wake rules, with third-party password files, proxies and services.

use std::{
    fs,
    net::TcpStream,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use drowse_tests::{Hello, Home, Process, Programs, Router, curl, needs, ports, until};

const PATIENCE: Duration = Duration::from_secs(60);

/// A server that returns request headers: a workload of the process provider.
struct Mirror {
    config: String,
    port: u16,
}

/// A response received by curl.
struct Response {
    status: u16,
    head: String,
    body: String,
}

// === impl Mirror ===

impl Mirror {
    fn new(home: &Home) -> Result<Self> {
        let port = ports::free()?;
        let server = format!(
            "listen 127.0.0.1:{port};\n underscores_in_headers on;\n location / {{\n return 200 \
             \"user=$http_remote_user client=$http_x_forwarded_for \
             authorization=$http_authorization\\n\";\n }}"
        );
        Ok(Self { config: nginx_config(home.path(), "mirror", &server)?, port })
    }

    fn provider(&self) -> String {
        let config = &self.config;
        format!(
            "[provider.process]\nplugin = \"process\"\n\
             command.mirror = {{ run = [\"nginx\", \"-c\", {config:?}] }}\n\n"
        )
    }

    /// The workload `mirror` with these keys, and a route to it.
    fn workload(&self, keys: &str) -> String {
        let port = self.port;
        format!(
            "[workload.mirror]\nprovider = \"process\"\nidle = \"never\"\n{keys}\n\n\
             [[route]]\nworkload = \"mirror\"\nport = {port}\n\n"
        )
    }
}

/// Writes an nginx configuration with one server and returns its path.
fn nginx_config(dir: &Path, name: &str, server: &str) -> Result<String> {
    let file = dir.join(format!("{name}.conf"));
    let dir = dir.display();
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {dir}/{name}-{kind};\n"))
        .concat();
    let text = format!(
        "daemon off;\nworker_processes 1;\npid {dir}/{name}.pid;\nerror_log stderr;\n\
         events {{}}\nhttp {{\naccess_log off;\n{temporary}server {{\n{server}\n}}\n}}\n"
    );
    fs::write(&file, text)?;
    Ok(file.display().to_string())
}

/// Starts a server and waits until it listens.
fn serve(name: &str, command: &mut Command, port: u16) -> Result<Process> {
    let process = Process::spawn(name, command.stdin(Stdio::null()), Duration::from_secs(5))?;
    until(&format!("{name} listens"), PATIENCE, || TcpStream::connect(ports::loopback(port)).ok())?;
    Ok(process)
}

fn ask(arguments: &[&str]) -> Result<Response> {
    let output = curl(&[&["--include"], arguments].concat())?;
    let text = String::from_utf8(output.stdout)?;
    let problem = String::from_utf8_lossy(&output.stderr);
    let (head, body) = text.split_once("\r\n\r\n").with_context(|| problem.into_owned())?;
    let status = head.split(' ').nth(1).context("no status")?.parse()?;
    Ok(Response { status, head: head.to_lowercase(), body: body.to_owned() })
}

fn htpasswd(words: &[&str]) -> Result<()> {
    let output = Command::new("htpasswd").args(words).stdin(Stdio::null()).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

fn lacks(test: &str, programs: &[&str]) -> bool {
    let missing = programs.iter().find(|program| needs::program(program).is_none());
    if let Some(program) = missing {
        needs::skip(test, &format!("{program} is not installed"));
    }
    missing.is_some()
}

fn asleep(router: &Router, workload: &str) -> Result<()> {
    let phase = router.phase(workload)?;
    ensure!(phase == "asleep", "{workload} is {phase}; the log:\n{}", router.log().tail(20));
    Ok(())
}

#[test]
fn a_client_with_a_password_written_by_htpasswd_is_admitted_and_wakes() -> Result<()> {
    if lacks(
        "a_client_with_a_password_written_by_htpasswd_is_admitted_and_wakes",
        &["htpasswd", "nginx"],
    ) {
        return Ok(());
    }
    let home = Home::new(&Programs::from_env())?;
    let mirror = Mirror::new(&home)?;
    let users = home.path().join("family.users").display().to_string();
    htpasswd(&["-B", "-b", "-c", &users, "alice", "correct horse"])?;
    htpasswd(&["-5", "-b", &users, "bob", "battery staple"])?;
    let auth = "[auth.family]\nusers-file = \"family.users\"\nrealm = \"home\"\nuser-header = \"Remote-User\"\n\n";
    home.configure(&[&mirror.provider(), auth, &mirror.workload("auth = \"family\"")].concat())?;
    let router = home.start()?;
    let url = router.url("/");

    let refused = ask(&[&url])?;
    assert_eq!(refused.status, 401);
    assert!(refused.head.contains("www-authenticate: basic realm=\"home\""), "{}", refused.head);
    for wrong in ["alice:wrong horse", "carol:correct horse", "alice:"] {
        assert_eq!(ask(&["--user", wrong, &url])?.status, 401, "{wrong}");
    }
    asleep(&router, "mirror")?;

    let alice = ask(&["--user", "alice:correct horse", "--header", "remote-user: root", &url])?;
    assert_eq!(
        (alice.status, alice.body.as_str()),
        (200, "user=alice client=127.0.0.1 authorization=\n")
    );
    let bob = ask(&["--user", "bob:battery staple", &url])?;
    assert!(bob.body.starts_with("user=bob "), "{}", bob.body);
    assert_eq!(ask(&[&url])?.status, 401, "the awake workload is not protected");

    // The file is reloaded when it changes.
    htpasswd(&["-B", "-b", &users, "carol", "correct horse"])?;
    until("carol is let in", PATIENCE, || {
        let seen = ask(&["--user", "carol:correct horse", &url]).ok()?;
        (seen.status == 200).then_some(())
    })?;
    let log = router.log().tail(1000);
    assert!(!log.contains("horse") && !log.contains("staple"), "{log}");
    Ok(())
}

#[test]
fn a_forward_auth_service_decides_about_requests() -> Result<()> {
    if lacks("a_forward_auth_service_decides_about_requests", &["nginx"]) {
        return Ok(());
    }
    let home = Home::new(&Programs::from_env())?;
    let mirror = Mirror::new(&home)?;
    let port = ports::free()?;
    let server = format!(
        "listen 127.0.0.1:{port};\n location = /verify {{\n add_header Remote-User alice always;\n \
         if ($http_cookie = \"session=good\") {{ return 200; }}\n \
         return 302 http://login.test/?back=$http_x_forwarded_host$http_x_forwarded_uri;\n }}"
    );
    let config = nginx_config(home.path(), "auth-service", &server)?;
    let auth_service =
        serve("the auth service", Command::new("nginx").args(["-c", &config]), port)?;
    let auth = format!(
        "[auth.sso]\nforward = \"http://127.0.0.1:{port}/verify\"\ncopy-headers = [\"Remote-User\"]\n\n"
    );
    home.configure(&[mirror.provider(), auth, mirror.workload("auth = \"sso\"")].concat())?;
    let router = home.start()?;
    let url = router.url("/some/place?x=1");

    let sent_away = ask(&["--header", "host: app.test", &url])?;
    assert_eq!(sent_away.status, 302);
    let to = "location: http://login.test/?back=app.test/some/place?x=1";
    assert!(sent_away.head.contains(to), "{}", sent_away.head);
    asleep(&router, "mirror")?;

    let session = ["--cookie", "session=good", "--header", "remote-user: root"];
    for method in ["GET", "POST"] {
        let seen = ask(&[&session[..], &["--request", method, "--data", "abc", &url]].concat())?;
        assert_eq!(seen.status, 200, "{method}: {}", seen.body);
        assert!(seen.body.starts_with("user=alice "), "{}", seen.body);
    }
    assert_eq!(ask(&[&url])?.status, 302, "the awake workload is not protected");
    drop(auth_service);
    assert_eq!(ask(&[&session[..], &[&url]].concat())?.status, 502);
    Ok(())
}

#[test]
fn haproxy_passes_the_client_address() -> Result<()> {
    if lacks("haproxy_passes_the_client_address", &["haproxy", "nginx"]) {
        return Ok(());
    }
    let home = Home::new(&Programs::from_env())?;
    let mirror = Mirror::new(&home)?;
    let (router, first, second) = (home.address(), ports::free()?, ports::free()?);
    let proxy = |name: &str, port: u16, how: &str| {
        format!("listen {name}\n  bind 127.0.0.1:{port}\n  server router {router} {how}\n")
    };
    let config = home.path().join("haproxy.cfg");
    let text = format!(
        "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n{}{}",
        proxy("one", first, "send-proxy"),
        proxy("two", second, "send-proxy-v2"),
    );
    fs::write(&config, text)?;
    // These keys belong to the listener table, which precedes them.
    let listener = "proxy-protocol = { from = [\"127.0.0.1\"] }\n\n";
    let wake = "wake = { from = [\"127.0.0.2\", \"127.0.0.3\"] }";
    home.configure(&[listener, &mirror.provider(), &mirror.workload(wake)].concat())?;
    let router = home.start()?;
    let mut command = Command::new("haproxy");
    let _haproxy = serve("haproxy", command.arg("-db").arg("-f").arg(&config), first)?;
    let via = |port: u16, client: &str| {
        ask(&["--interface", client, &format!("http://127.0.0.1:{port}/")])
    };

    for port in [first, second] {
        let refused = via(port, "127.0.0.9")?;
        assert_eq!(refused.status, 403, "{}", refused.body);
        assert!(refused.body.contains("This address may not wake mirror."), "{}", refused.body);
    }
    asleep(&router, "mirror")?;
    for (port, client) in [(first, "127.0.0.2"), (second, "127.0.0.3"), (second, "127.0.0.9")] {
        let seen = via(port, client)?;
        assert_eq!(seen.status, 200, "{}", seen.body);
        assert!(seen.body.contains(&format!("client={client} ")), "{}", seen.body);
    }
    // The protocol is required from its configured senders and refused from others.
    let output = curl(&[&router.url("/")])?;
    assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let forged = ["--haproxy-protocol", "--interface", "127.0.0.9", &router.url("/")];
    assert_eq!(ask(&forged)?.status, 400);
    assert!(router.log().tail(1000).contains("must send one"));
    Ok(())
}

#[test]
fn wake_rules_limits_and_probes_follow_the_configuration() -> Result<()> {
    let programs = Programs::from_env();
    let home = Home::new(&programs)?;
    let hello = Hello::new(&programs, home.path(), Duration::ZERO)?;
    let port = hello.port();
    let tables = format!(
        "trusted-proxies = [\"127.0.0.0/8\"]\n\n{}[workload.hello]\nprovider = \"process\"\nidle = \"never\"\n\
         wake = {{ paths = [\"/app/*\"], probes = [{{ path = \"/healthz\", status = 204 }}], \
         bots = \"ignore\", rate-limit = \"3/1h\", client-rate-limit = \"1/1h\" }}\n\n\
         [[route]]\nworkload = \"hello\"\nport = {port}\n\n\
         [[route]]\nhost = \"inside.test\"\nworkload = \"hello\"\nport = {port}\n\
         wake = {{ paths = [], from = [\"192.168.0.0/16\"] }}\n",
        hello.provider()
    );
    home.configure(&tables)?;
    let router = home.start()?;
    let by = |client: &str, host: &str, path: &str| {
        let (client, host) = (format!("x-forwarded-for: {client}"), format!("host: {host}"));
        ask(&["--header", &client, "--header", &host, &router.url(path)])
    };
    let sleep = || -> Result<()> {
        let output = router.home().drowse(&["sleep", "hello"])?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        router.wait_for_phase("hello", "asleep", PATIENCE)
    };

    assert_eq!(by("192.168.1.1", "any.test", "/")?.status, 403);
    assert_eq!(by("203.0.113.9", "inside.test", "/app/x")?.status, 403);
    assert_eq!(by("192.168.1.1", "any.test", "/healthz")?.status, 204);
    assert_eq!(by("192.168.1.1", "any.test", "/robots.txt")?.status, 503);
    let bot = ask(&["--user-agent", "Googlebot/2.1", &router.url("/app/x")])?;
    assert_eq!(bot.status, 503);
    assert!(bot.head.contains("retry-after:"), "{}", bot.head);
    asleep(&router, "hello")?;
    assert_eq!(hello.starts()?, [0; 0]);

    assert_eq!(by("192.168.1.1", "any.test", "/app/x")?.status, 200);
    assert_eq!(
        by("192.168.1.1", "any.test", "/healthz")?.status,
        200,
        "the response is not that of the workload"
    );
    sleep()?;
    let again = by("192.168.1.1", "any.test", "/app/x")?;
    assert_eq!(again.status, 429);
    assert!(again.head.contains("retry-after: "), "{}", again.head);
    assert!(again.body.contains("its limit for one client"), "{}", again.body);
    assert_eq!(by("192.168.1.2", "inside.test", "/")?.status, 200);
    sleep()?;
    assert_eq!(by("192.168.1.3", "inside.test", "/")?.status, 200);
    sleep()?;
    let all = by("192.168.1.4", "inside.test", "/")?;
    assert_eq!(all.status, 429);
    assert!(all.body.contains("its limit for all clients"), "{}", all.body);
    assert_eq!(hello.starts()?.len(), 3);
    Ok(())
}
