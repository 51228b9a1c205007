"""SAML 2.0 web logins: read in a process of their own, believed only where signed."""
