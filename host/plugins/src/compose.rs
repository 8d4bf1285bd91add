//! Translates the labels that Docker Compose writes on its containers into a [`Service`] with its
//! needs. Labels: <https://docs.docker.com/reference/compose-file/services/#labels>; their values are
//! as `docker compose` and `podman-compose` write them.

use std::collections::BTreeMap;

use drowse_core::{Service, Until};

const PROJECT: &str = "com.docker.compose.project";
const SERVICE: &str = "com.docker.compose.service";
const DEPENDS_ON: &str = "com.docker.compose.depends_on";

/// Maximum length of a project or service name in bytes; longer names are ignored.
const MAX_NAME: usize = 256;
/// Maximum needs of one service; further ones are ignored.
const MAX_NEEDS: usize = 256;

/// The service that a container with these labels is; none for one outside of compose.
pub(crate) fn service(labels: &BTreeMap<String, String>) -> Option<Service> {
    let name = |key| labels.get(key).filter(|name| name.len() <= MAX_NAME).cloned();
    Some(Service {
        group: name(PROJECT)?,
        name: name(SERVICE)?,
        needs: labels.get(DEPENDS_ON).map(|text| needs(text)).unwrap_or_default(),
    })
}

/// Parses `db:service_healthy:false,migrate:service_completed_successfully:false`.
fn needs(text: &str) -> Vec<(String, Until)> {
    let parts = text.split(',').filter(|part| !part.is_empty() && part.len() <= MAX_NAME);
    parts
        .take(MAX_NEEDS)
        .map(|part| {
            let mut fields = part.split(':');
            let service = fields.next().unwrap_or_default().to_owned();
            let until = match fields.next() {
                Some("service_started") => Until::Started,
                Some("service_completed_successfully") => Until::Completed,
                _ => Until::Healthy,
            };
            (service, until)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(project: &str, service: &str, depends_on: &str) -> BTreeMap<String, String> {
        let labels = [(PROJECT, project), (SERVICE, service), (DEPENDS_ON, depends_on)];
        labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
    }

    #[test]
    fn depends_on_becomes_needs() {
        let text = "db:service_healthy:false,migrate:service_completed_successfully:false,\
                    cache:service_started:true,queue";
        let service = service(&labels("shop", "web", text)).unwrap();
        assert_eq!((service.group.as_str(), service.name.as_str()), ("shop", "web"));
        let expected = [
            ("db".to_owned(), Until::Healthy),
            ("migrate".to_owned(), Until::Completed),
            ("cache".to_owned(), Until::Started),
            ("queue".to_owned(), Until::Healthy),
        ];
        assert_eq!(service.needs, expected);
    }

    #[test]
    fn containers_without_compose_labels_are_no_service() {
        assert_eq!(service(&BTreeMap::new()), None);
        let mut labels = labels("shop", "web", "");
        labels.remove(SERVICE);
        assert_eq!(service(&labels), None);
    }

    #[test]
    fn names_and_needs_are_bounded() {
        assert_eq!(service(&labels(&"x".repeat(1000), "web", "")), None);
        let many = "db:service_healthy:false,".repeat(1000);
        let needs = service(&labels("shop", "web", &many)).unwrap().needs;
        assert_eq!(needs.len(), MAX_NEEDS);
    }
}
