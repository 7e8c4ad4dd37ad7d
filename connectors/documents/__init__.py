"""Documents that people send: summed up, and asked, in their own words and with their pages."""

from connectors.documents.actions import ask_document, summarise_document
from core.actions import Connector

connector = Connector(name="documents", title="Documents", actions=(ask_document, summarise_document))
