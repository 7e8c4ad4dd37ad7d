"""Documents that people send: summed up, and asked, in their own words and with their pages."""

from connectors.documents.actions import ask_document, summarise_document
from core.actions import Connector
from core.language import Saying

connector = Connector(name="documents", title=Saying("Documents", "Hati"), actions=(ask_document, summarise_document))
