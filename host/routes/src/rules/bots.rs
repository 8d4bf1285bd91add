//! Programs that visit by themselves and say so in their user agent.

/// Words that stand in the user agents of such programs and in no browser's, in lower case.
const WORDS: &[&str] = &[
    // Most crawlers and many others are called one of these.
    "crawler",
    "spider",
    "slurp",
    // Link previews of chats and social networks.
    "facebookexternalhit",
    "facebookcatalog",
    "meta-externalagent",
    "whatsapp/",
    "skypeuripreview",
    "iframely",
    "embedly",
    "vkshare",
    "mastodon/",
    "pleroma",
    "akkoma",
    "misskey",
    "synapse/",
    "google-pagerenderer",
    "google-read-aloud",
    "google-inspectiontool",
    "mediapartners-google",
    "feedfetcher",
    // Uptime monitors and health checks.
    "uptime-kuma",
    "uptimekuma",
    "pingdom",
    "statuscake",
    "site24x7",
    "hetrixtools",
    "updown.io",
    "newrelicpinger",
    "datadog/synthetics",
    "freshping",
    "gatus/",
    "blackbox exporter",
    "blackbox-exporter",
    "kube-probe/",
    "elb-healthchecker",
    "googlehc/",
    "check_http",
    // Those who look through the whole net.
    "zgrab",
    "masscan",
    "censysinspect",
    "internetmeasurement",
    "expanse",
    "nmap scripting engine",
];

/// Whether this user agent says that it is a crawler, a link preview or an uptime monitor.
pub(super) fn is_bot(agent: &[u8]) -> bool {
    let agent = &agent[..agent.len().min(512)];
    let agent = String::from_utf8_lossy(agent).to_ascii_lowercase();
    WORDS.iter().any(|word| agent.contains(word)) || names_itself_bot(&agent)
}

/// `bot` at the end of a word: `Googlebot/2.1`, `Better Uptime Bot`. Cubot makes telephones.
fn names_itself_bot(agent: &str) -> bool {
    agent.match_indices("bot").any(|(at, _)| {
        let ends = !agent[at + 3..].starts_with(|c: char| c.is_ascii_alphabetic());
        ends && !agent[..at].ends_with("cu")
    })
}
