{#- Name of the browser that a user agent names. All of them claim to be others, so the order
    counts: the first pattern that is found. -#}
{%- macro browser_family(user_agent) -%}
    case
        {%- for pattern, family in [
            ('Slackbot', 'Slackbot-LinkExpanding'),
            ('WhatsApp', 'WhatsApp'),
            ('Googlebot', 'Googlebot'),
            ('SamsungBrowser', 'Samsung Internet'),
            ('Edg(e|A|iOS)?/', 'Edge'),
            ('OPR/|Opera', 'Opera'),
            ('Firefox/|FxiOS/', 'Firefox'),
            ('(iPhone|iPad).*Version/.*Safari/', 'Mobile Safari'),
            ('(iPhone|iPad).*AppleWebKit', 'Mobile Safari UI/WKWebView'),
            ('Chrome/|CriOS/', 'Chrome'),
            ('Version/.*Safari/', 'Safari'),
        ] %}
        when {{ user_agent }} rlike '{{ pattern }}' then '{{ family }}'
        {%- endfor %}
        when {{ user_agent }} is not null then 'Other'
    end
{%- endmacro -%}
