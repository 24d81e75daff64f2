{#- A fetched timestamp as UTC text to the millisecond. PySpark hands out naive local times. -#}
{%- macro utc_text(value) -%}
    {%- if target.method == 'session' -%}
        {%- set value = value.astimezone(modules.pytz.utc) -%}
    {%- endif -%}
    {{- return(value.strftime('%Y-%m-%d %H:%M:%S.%f')[:23]) -}}
{%- endmacro -%}
