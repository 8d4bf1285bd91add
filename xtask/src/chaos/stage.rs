//! The engine, its containers, and the router.

use std::{
    cell::RefCell,
    env, fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use drowse_tests::{Docker, EngineRelay, Home, Programs, Router, log::Log, until};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::{
    Options,
    api::Api,
    backend::{MISDELIVERED, POSTS},
};
use crate::workspace::Workspace;

/// Network of the containers. Not the engine's default network, in which containers cannot request
/// addresses.
const NETWORK: &str = "chaos";
/// The container that gets the addresses of others. It gets requests only for checks.
pub(super) const SPARE: &str = "spare";
/// Idle time of the workloads.
const IDLE: Duration = Duration::from_secs(3);
/// Timeout of expected conditions.
const PATIENCE: Duration = Duration::from_secs(60);

/// The environment of a run.
pub(super) struct Stage {
    pub(super) docker: Docker,
    pub(super) api: Api,
    /// The workloads under load.
    pub(super) names: Vec<String>,
    router: RefCell<Option<Router>>,
    /// Logs of the router, one per start.
    logs: RefCell<Vec<Log>>,
    address: SocketAddr,
    notes: PathBuf,
    program: PathBuf,
    /// Time of the engine to start all containers at once.
    own_time: Duration,
    /// Delay of the engine's events.
    pub(super) late: Duration,
    /// Relay that delays them.
    _relay: Option<EngineRelay>,
}

// === impl Stage ===

impl Stage {
    /// Starts an engine with containers and a router. All workloads are asleep.
    pub(super) fn new(
        workspace: &Workspace,
        programs: &Programs,
        options: &Options,
    ) -> Result<Self> {
        let late = Duration::from_millis(options.late_events);
        let docker = Docker::start()?;
        let home = Home::new(programs)?.cache(&workspace.compiled());
        let notes = home.path().join("notes");
        fs::create_dir(&notes)?;
        let api = Api::new(docker.socket());
        let mut stage = Self {
            api,
            names: (0..options.workloads).map(|number| format!("w{number}")).collect(),
            router: RefCell::new(None),
            logs: RefCell::default(),
            address: home.address(),
            notes,
            program: env::current_exe().context("find this program")?,
            own_time: Duration::ZERO,
            late,
            _relay: None,
            docker,
        };
        let subnet = format!("10.206.{}.0/24", 1 + process::id() % 250);
        let network = json!({ "Name": NETWORK, "IPAM": { "Config": [{ "Subnet": subnet }] } });
        stage.api.change("POST /networks/create", &network, &[201])?;
        for name in &stage.names {
            stage.create(name, None)?;
        }
        stage.own_time = stage.measure_starts()?;
        let socket = if late.is_zero() {
            stage.docker.socket()
        } else {
            let socket = home.path().join("engine.sock");
            let relay = EngineRelay::begin(&socket, stage.docker.socket())?;
            relay.delay_events(late);
            stage._relay = Some(relay);
            socket
        };
        home.configure(&stage.tables(&socket))?;
        // A key of the root table.
        let text = fs::read_to_string(home.config())?;
        fs::write(home.config(), format!("log = {:?}\n{text}", options.log))?;
        stage.keep(home.own_process_group().start()?);
        stage.wait_until_asleep()?;
        Ok(stage)
    }

    fn tables(&self, socket: &Path) -> String {
        let mut tables = format!(
            "[provider.docker]\nplugin = \"docker\"\n\
             endpoint.engine = {{ url = \"unix://{}\" }}\n",
            socket.display(),
        );
        for name in self.names.iter().map(String::as_str).chain([SPARE]) {
            tables += &format!(
                "\n[workload.{name}]\nprovider = \"docker\"\nidle = \"{}s\"\n\
                 sleep = {{ grace = \"2s\" }}\n\n\
                 [[route]]\nhost = \"{name}.chaos\"\nworkload = \"{name}\"\nport = 80\n",
                IDLE.as_secs(),
            );
        }
        tables
    }

    /// Time of the engine to start all containers at once, without a router.
    fn measure_starts(&self) -> Result<Duration> {
        let begin = Instant::now();
        std::thread::scope(|scope| {
            let api = &self.api;
            let starts = self.names.iter().map(|name| scope.spawn(move || start(api, name)));
            let starts: Vec<_> = starts.collect();
            starts.into_iter().try_for_each(|start| {
                start.join().map_err(|_| anyhow::anyhow!("a start panicked"))?
            })
        })?;
        let took = begin.elapsed();
        for name in &self.names {
            self.stop(name)?;
        }
        Ok(took)
    }

    pub(super) fn own_time(&self) -> Duration {
        self.own_time
    }

    // --- containers

    /// Creates a container, optionally with a fixed address.
    pub(super) fn create(&self, name: &str, address: Option<&str>) -> Result<()> {
        let endpoint = address.map_or_else(
            || json!({}),
            |address| json!({ "IPAMConfig": { "IPv4Address": address } }),
        );
        let body = json!({
            "Image": "host",
            "Cmd": ["/backend", "chaos-backend", "--name", name, "--notes", "/notes"],
            "HostConfig": {
                "Binds": [
                    "/usr:/usr:ro",
                    format!("{}:/backend:ro", self.program.display()),
                    format!("{}:/notes", self.notes.display()),
                ],
                "NetworkMode": NETWORK,
            },
            "NetworkingConfig": { "EndpointsConfig": { NETWORK: endpoint } },
        });
        self.api.change(&format!("POST /containers/create?name={name}"), &body, &[201])
    }

    pub(super) fn start(&self, name: &str) -> Result<()> {
        start(&self.api, name)
    }

    /// Recreates the containers that the engine cannot start, and returns their names. A killed engine
    /// may find that a container's task of its last run still exists.
    pub(super) fn replace_broken(&self) -> Result<Vec<String>> {
        let mut replaced = Vec::new();
        for name in &self.names {
            if !self.is_running(name)? && self.start(name).is_err() {
                self.remove(name)?;
                self.create(name, None)?;
                replaced.push(name.clone());
            }
        }
        Ok(replaced)
    }

    pub(super) fn stop(&self, name: &str) -> Result<()> {
        self.post(&format!("POST /containers/{name}/stop?t=2"), &[204, 304])
    }

    pub(super) fn restart(&self, name: &str) -> Result<()> {
        self.post(&format!("POST /containers/{name}/restart?t=2"), &[204])
    }

    /// Status 409: it is not running.
    pub(super) fn kill(&self, name: &str) -> Result<()> {
        self.post(&format!("POST /containers/{name}/kill"), &[204, 409])
    }

    pub(super) fn pause(&self, name: &str) -> Result<()> {
        self.post(&format!("POST /containers/{name}/pause"), &[204, 409])
    }

    /// Status 500: it is not paused.
    pub(super) fn unpause(&self, name: &str) -> Result<()> {
        self.post(&format!("POST /containers/{name}/unpause"), &[204, 409, 500])
    }

    pub(super) fn rename(&self, name: &str, new: &str) -> Result<()> {
        self.post(&format!("POST /containers/{name}/rename?name={new}"), &[204])
    }

    pub(super) fn remove(&self, name: &str) -> Result<()> {
        self.post(&format!("DELETE /containers/{name}?force=1"), &[204, 404])
    }

    pub(super) fn disconnect(&self, name: &str) -> Result<()> {
        let body = json!({ "Container": name });
        self.api.change(&format!("POST /networks/{NETWORK}/disconnect"), &body, &[200])
    }

    pub(super) fn connect(&self, name: &str) -> Result<()> {
        let body = json!({ "Container": name });
        self.api.change(&format!("POST /networks/{NETWORK}/connect"), &body, &[200])
    }

    /// Address of a running container.
    pub(super) fn address_of(&self, name: &str) -> Result<Option<String>> {
        let container = self.api.get(&format!("/containers/{name}/json"))?;
        let address = &container["NetworkSettings"]["Networks"][NETWORK]["IPAddress"];
        Ok(address.as_str().filter(|address| !address.is_empty()).map(str::to_owned))
    }

    pub(super) fn is_running(&self, name: &str) -> Result<bool> {
        Ok(self.api.get(&format!("/containers/{name}/json"))?["State"]["Running"] == true)
    }

    fn post(&self, request: &str, expected: &[u16]) -> Result<()> {
        self.api.change(request, &Value::Null, expected)
    }

    /// Names of all containers and networks, sorted.
    pub(super) fn inventory(&self) -> Result<Vec<String>> {
        let containers = self.api.get("/containers/json?all=1")?;
        let containers = containers.as_array().into_iter().flatten();
        let containers = containers.map(|container| format!("container {}", container["Names"]));
        let networks = self.api.get("/networks")?;
        let networks = networks.as_array().into_iter().flatten();
        let networks = networks.map(|network| format!("network {}", network["Name"]));
        let mut inventory: Vec<_> = containers.chain(networks).collect();
        inventory.sort();
        Ok(inventory)
    }

    // --- the router

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn with_router<T>(&self, work: impl FnOnce(&mut Router) -> Result<T>) -> Result<T> {
        work(self.router.borrow_mut().as_mut().context("the router is down")?)
    }

    /// Kills the router, calls `down_for`, and starts the router again.
    pub(super) fn kill_router(&self, down_for: impl FnOnce() -> Result<()>) -> Result<()> {
        let mut router = self.router.borrow_mut().take().context("the router is down")?;
        router.signal(Signal::KILL)?;
        let home = router.stop()?;
        down_for()?;
        self.keep(home.start()?);
        Ok(())
    }

    fn keep(&self, router: Router) {
        self.logs.borrow_mut().push(router.log().clone());
        *self.router.borrow_mut() = Some(router);
    }

    /// An error if the router has exited by itself.
    pub(super) fn ensure_router_runs(&self) -> Result<()> {
        self.with_router(|router| {
            let ended = router.ended()?;
            ensure!(ended.is_none(), "the router exited: {ended:?}:\n{}", router.log().tail(20));
            Ok(())
        })
    }

    /// Waits until every workload is asleep in the router and its container is stopped.
    pub(super) fn wait_until_asleep(&self) -> Result<()> {
        for name in &self.names {
            self.with_router(|router| router.wait_for_phase(name, "asleep", PATIENCE))?;
            until(&format!("the container {name} is stopped"), PATIENCE, || {
                self.is_running(name).ok().filter(|runs| !runs)
            })?;
        }
        Ok(())
    }

    /// The router's log of all starts.
    pub(super) fn log(&self) -> Vec<String> {
        self.logs.borrow().iter().flat_map(|log| log.since(0)).collect()
    }

    /// Stops the router.
    pub(super) fn close(&self) -> Result<()> {
        match self.router.borrow_mut().take() {
            Some(router) => router.stop().map(drop),
            None => Ok(()),
        }
    }

    // --- records

    /// Reads and clears the record file of misdelivered requests.
    pub(super) fn take_misdelivered(&self) -> Result<String> {
        self.take_notes(MISDELIVERED)
    }

    /// Reads and clears the record file of `POST` requests.
    pub(super) fn take_posts(&self) -> Result<String> {
        self.take_notes(POSTS)
    }

    /// Truncates the file instead of removing it, because the containers have it open.
    fn take_notes(&self, name: &str) -> Result<String> {
        let path = self.notes.join(name);
        if !path.exists() {
            return Ok(String::new());
        }
        let text = fs::read_to_string(&path)?;
        fs::OpenOptions::new().write(true).truncate(true).open(&path)?;
        Ok(text)
    }
}

fn start(api: &Api, name: &str) -> Result<()> {
    api.change(&format!("POST /containers/{name}/start"), &Value::Null, &[204, 304])
}
