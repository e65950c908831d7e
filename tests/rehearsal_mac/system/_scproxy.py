"""What urllib asks on a Mac for the system's proxies: there are none."""


def _get_proxy_settings() -> dict[str, bool]:
    return {}


def _get_proxies() -> dict[str, str]:
    return {}
