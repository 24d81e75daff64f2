{#- The envelope as the ingest service passes it on, for from_json: texts, so that what is no number
    can be told from what is not there. -#}
{%- macro game_envelope_type() -%}
    {%- set names = [
        'event_id', 'event_type', 'event_name', 'event_version', 'event_timestamp',
        'sent_timestamp', 'application_id', 'app_version', 'player_id', 'session_id', 'platform',
        'country', 'server_id', 'studio_id', 'ingest_ts',
    ] -%}
    {{- names | join(' string, ') }} string
{%- endmacro -%}
